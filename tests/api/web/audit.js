/* Looks at the page in the browser and tells what somebody could not read, reach or understand.
   Returns a list of sentences; an empty one is good. */
() => {
  const problems = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const told = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 90);
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    return box.width > 1 && box.height > 1 && style.visibility === "visible";
  };
  const named = (element) => {
    const ids = element.getAttribute("aria-labelledby");
    const labels = element.labels ? [...element.labels] : [];
    const texts = ids
      ? ids.split(" ").map((id) => document.getElementById(id)?.textContent ?? "")
      : [element.getAttribute("aria-label") ?? "", ...labels.map((l) => l.textContent)];
    if (["A", "BUTTON", "SUMMARY"].includes(element.tagName)) texts.push(element.textContent);
    return texts.join("").trim() !== "";
  };

  if (!/^(zh-CN|en)$/.test(document.documentElement.lang)) problems.push("no language");
  if (!document.title.trim()) problems.push("no title");
  for (const [selector, wanted] of [["h1", 1], ["main", 1], ["header.head", 1], ["footer", 1]])
    if (all(selector).length !== wanted) problems.push(`${all(selector).length} of ${selector}`);

  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) problems.push(`heading jumps from ${level}: ${told(heading)}`);
    if (!heading.textContent.trim()) problems.push(`empty heading: ${told(heading)}`);
    level = next;
  }

  const ids = all("[id]").map((element) => element.id);
  for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) !== place)))
    problems.push(`two elements are ${id}`);
  for (const name of ["aria-labelledby", "aria-describedby", "for", "form"])
    for (const element of all(`[${name}]`))
      for (const id of element.getAttribute(name).split(" "))
        if (!ids.includes(id)) problems.push(`${name} names nothing: ${told(element)}`);
  for (const link of all('a[href^="#"]'))
    if (!ids.includes(link.hash.slice(1))) problems.push(`leads nowhere: ${told(link)}`);

  for (const element of all("input:not([type=hidden]), select, textarea, button, a, summary"))
    if (!named(element)) problems.push(`has no name: ${told(element)}`);
  for (const element of all('[role="region"], nav, article, section[aria-labelledby]'))
    if (!named(element)) problems.push(`region without a name: ${told(element)}`);
  for (const cell of all("th"))
    if (!cell.hasAttribute("scope")) problems.push(`header without scope: ${told(cell)}`);
  for (const table of all("table"))
    if (!table.querySelector("th")) problems.push(`table without headers: ${told(table)}`);
  for (const image of all("svg"))
    if (!image.closest('[aria-hidden="true"]')) problems.push(`picture without words: ${told(image)}`);
  for (const element of all("[tabindex]"))
    if (element.tabIndex > 0) problems.push(`out of order: ${told(element)}`);

  /* Targets are 24 pixels or more, or stand within a sentence. */
  for (const element of all("a, button, input, select, textarea, summary")) {
    const box = element.getBoundingClientRect();
    const inText = element.closest("p, li, h2, th, td") && !element.matches(".button, nav a");
    if (shown(element) && box.height < 24 && !inText) problems.push(`too small: ${told(element)}`);
  }

  /* Contrast of every piece of text with what is really behind it. */
  const parse = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((channel) => {
      const c = channel / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !shown(element)) continue;
    if (element.closest(".away, option, svg")) continue;
    const ink = luminance(parse(getComputedStyle(element).color));
    const behind = luminance(ground(element));
    const ratio = (Math.max(ink, behind) + 0.05) / (Math.min(ink, behind) + 0.05);
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${told(element)}`);
  }

  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth)
    problems.push(`${root.scrollWidth - root.clientWidth} pixels too wide`);
  return problems;
}
