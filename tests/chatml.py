"""ChatML, the template that most chat models' own are made of, with the mark that few of them have."""

CHATML = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}
{{- message.content + '<|im_end|>' }}
{%- endgeneration %}
{%- else %}
{{- message.content + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
#: The same without the mark.
UNMARKED = CHATML.replace("{%- generation %}\n", "").replace("{%- endgeneration %}\n", "")


def talk(*contents: str) -> list[dict[str, str]]:
    """A user and an assistant in turn."""
    return [{"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(contents)]
