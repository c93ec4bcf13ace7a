// Keys, ticks with Shift, and what htmx is told. Everything works without it.
(() => {
  const typing = (node) => node.matches("input, select, textarea, [contenteditable]");
  const ways = { o: "/", a: "/approvals", p: "/search", c: "/access" };
  let going = false, lastTick = null;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || localStorage.getItem("keys") === "off") return;
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector("[data-seek]")?.focus();
    } else if (going && ways[event.key]) {
      const way = document.querySelector(`.bar nav a[href="${ways[event.key]}"]`);
      if (way) location.assign(way.href);
    }
    going = event.key === "g";
  });
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox" || !box.closest("[data-ticks]")) return;
    const boxes = [...box.closest("[data-ticks]").querySelectorAll("input[type=checkbox]")];
    if (event.shiftKey && lastTick && boxes.includes(lastTick)) {
      const [from, to] = [boxes.indexOf(lastTick), boxes.indexOf(box)].sort((a, b) => a - b);
      boxes.slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
    }
    lastTick = box;
  });
  document.addEventListener("submit", (event) => {
    // What is sent twice is done twice.
    const button = event.submitter;
    if (button?.matches("[data-once]")) setTimeout(() => { button.disabled = true; }, 0);
  });
})();
