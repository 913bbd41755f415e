"""Texts on which tokenizers that should agree have been seen to differ.

Each group names what it provokes. They prove a converted vocabulary against its own library, and an engine against the
reference, before either is used.
"""

from collections.abc import Iterable, Iterator

from tokenmill.tokenizers.model import Model

#: Code points whose class or composition changed between Unicode versions, or that fold into ASCII (measured
#: differences between engines: 11DE0-11DE9 and 16FF4-16FF6 are new in Unicode 17; 0897-089F, 0EBA and 1ABF-1ADD are marks
#: that older composition tables do not reorder; U+017F folds to s and U+212A to k in case-insensitive patterns).
DELICATE = (
    "\u0897\u089f\u0eba\u1abf\u1add\u0345\u0f71\u0f72\u1e9e\u017f\u212a\u0130\u0131\u01c5\u2160\u00aa"
    "\u0660\u3007\U00011de0\U00011de9\U00016ff4\U00016ff6"
)

HAND_PICKED = (
    "",
    " ",
    "  ",
    "\n",
    "\r\n\r\n \t x\r",
    " leading and trailing ",
    "a  b   c    d\n\n\n e \u00a0\u2003\u3000 f",
    "I'm you're he'd we'll they've it's DON'T I'\u017f can't'\u017f x'S'T'RE",
    "Hello, world! 你好世界 こんにちは 안녕하세요 Привет, мир! مرحبا بالعالم שלום नमस्ते ไทย",
    "e\u0301 \u0061\u0323\u0307 \u1100\u1161\u11a8 \ufb01 \u2126 Ⅷ ½ ²",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ☺️ \u200d\u200d \ufe0f",
    "0 12 123 1234 12345 1,234.56 ٣٤٥ 1e-10 0xFF",
    "def f(x):\n\tif x:\n        return {'a': [1, 2]}  # comment\n\n\n",
    "<|endoftext|> <s> </s> <unk> [CLS] [MASK] <|im_start|>user\n<think>\n\n</think> <｜begin▁of▁sentence｜> <|endof",
    "▁▁a ▁ ##b Ġc Ċ <0x0A> <0xFF>",
    "https://example.org/a?b=c&d=%20e#f user.name+tag@example.co.uk C:\\dir\\file.txt",
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkrLw==",
    "nul \x00 bell \x07 del \x7f \x85 \u2028 \u2029 \ufeff \ufffd \uffff",
    "a" * 3000,
    " " * 700 + "x" + "\n" * 300 + "=" * 500,
    "ab" * 700 + "Ab1 " * 300 + "あ" * 900,
    "supercalifragilisticexpialidocious" * 20 + " antidisestablishmentarianism",
)

#: Where a code point stands decides what becomes of it: among letters, in a run, in a contraction, beside digits, and with
#: combining marks of a high and a low class, which composition reorders. {c} is it.
CONTEXTS = ("x{c}y {c}{c}", " I'{c} 1{c}", "e{c}\u0301 o\u0323{c}", "a\u0301{c} u{c}\u0323")

#: All that is assigned in Unicode 17 but the private planes, the code points between, and a few of each empty plane.
SWEPT = (
    *range(0xD800),
    *range(0xE000, 0x33500),
    *range(0xE0000, 0xE0200),
    *(plane << 16 | low for plane in range(3, 17) for low in (0, 1, 0x7FFF, 0xFFFE, 0xFFFF)),
)


def probes() -> list[str]:
    """The hand-picked texts, and each delicate code point in several contexts."""
    return [*HAND_PICKED, *(f"{c} a{c}b {c}{c} '{c} 1{c} e{c}\u0301" for c in DELICATE)]


def token_probes(model: Model) -> Iterator[str]:
    """The strings of a tokenizer's own added tokens, whole, in a row, cut off, and in other letters."""
    for token in model.added_tokens:
        content = token["content"]
        yield f"a {content}b{content}{content} \n{content} {content[:-1]} {content[1:]} {content.upper()}{content.lower()}"


def in_contexts(points: Iterable[int]) -> str:
    """Some code points in all contexts, as one text."""
    return "\n".join(context.format(c=chr(point)) for point in points for context in CONTEXTS)
