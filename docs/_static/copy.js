// A button on every block of code that copies it.
document.addEventListener("DOMContentLoaded", () => {
  const word = document.documentElement.lang.startsWith("zh") ? "复制" : "copy";
  for (const block of document.querySelectorAll(".highlight")) {
    const button = Object.assign(document.createElement("button"), { className: "copy", type: "button", textContent: word });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("pre").innerText);
      button.textContent = "✓";
      setTimeout(() => (button.textContent = word), 1500);
    });
    block.append(button);
  }
});
