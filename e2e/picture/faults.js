// The faults of a page: what is wider than the page, texts that overlap, and texts that leave their picture or are cut off.
(() => {
  const faults = [], root = document.documentElement, slack = 1;
  const folded = e => !matchMedia("print").matches && e.closest("details:not([open])") && !e.closest("summary"); // laid out, and not shown
  const say = (What, Text, Other) => { if (faults.length < 20) faults.push({ What, Text, Other: Other || "" }); };
  if (root.scrollWidth > root.clientWidth) say("the page is wider than the window", root.scrollWidth + " > " + root.clientWidth);
  for (const e of document.body.querySelectorAll("*")) {
    if (e.closest("svg") || e.closest(".scroll") || folded(e)) continue;
    if (e.scrollWidth > e.clientWidth + slack && getComputedStyle(e).display !== "inline") say("cut off", e.textContent.trim(), e.className);
  }
  const boxes = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("title, desc, style") || folded(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const picture = parent.closest("svg"), scroll = parent.closest(".scroll");
    for (const r of range.getClientRects()) {
      if (r.width < 0.5 || r.height < 0.5) continue;
      if (picture) {
        const p = picture.getBoundingClientRect();
        if (r.left < p.left - slack || r.right > p.right + slack || r.top < p.top - slack || r.bottom > p.bottom + slack) say("leaves its picture", node.data, picture.getAttribute("aria-label"));
        if (r.height < 9) say("too small to be read", node.data, r.height + " px");
      } else if (!scroll && (r.left < -slack || r.right > root.clientWidth + slack)) {
        say("leaves the page", node.data);
      }
      boxes.push({ text: node.data, r, node, scroll });
    }
  }
  boxes.sort((a, b) => a.r.top - b.r.top);
  for (let i = 0; i < boxes.length; i++) {
    for (let k = i + 1; k < boxes.length && boxes[k].r.top < boxes[i].r.bottom - slack; k++) {
      const a = boxes[i], b = boxes[k];
      if (a.node === b.node || a.scroll || b.scroll && a.scroll !== b.scroll) continue;
      if (a.r.left < b.r.right - slack && b.r.left < a.r.right - slack) say("overlap", a.text, b.text);
    }
  }
  return faults;
})()
