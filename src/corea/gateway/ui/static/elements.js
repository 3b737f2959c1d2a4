// Elements and numbers. Every text of the data becomes a text node: no markup is ever made of it.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const s = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
export const $ = (id) => document.getElementById(id);

export function show(element, text) {
  element.hidden = !text;
  element.textContent = text || "";
}

const count = new Intl.NumberFormat("en-US");
export const number = (value) => count.format(value);
export const percent = (share) => {
  const value = share * 100;
  return `${Math.abs(value) >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
};
export const decimal = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const seconds = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(value < 10 ? 2 : 0)} s`);

// .99996 must not look like 1
export const threshold = (value) =>
  value === null || value === undefined ? "none" : String(Number(value.toPrecision(value > 0.999 && value < 1 ? 6 : 4)));

export function usd(value) {
  if (value === null || value === undefined) return "unknown";
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size >= 1000) return `${sign}$${count.format(Math.round(size))}`;
  if (size >= 1) return `${sign}$${size.toFixed(2)}`;
  const digits = Math.min(10, 1 - Math.floor(Math.log10(size)));
  return `${sign}$${size.toFixed(Math.max(2, digits))}`;
}

export const axisUsd = (value) => usd(value).replace(/\.00$/, "");
export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
export const day = (at) => new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });

export function table(head, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const cells = (tag, values, extra = {}) => values.map((value, i) =>
    h(tag, { class: head[i].kind, ...extra }, value instanceof Node || Array.isArray(value) ? value : String(value)));
  return h("table", {},
    h("thead", {}, h("tr", {}, cells("th", head.map((each) => each.title), { scope: "col" }))),
    h("tbody", {}, rows.map((row) => h("tr", { class: row.kind }, cells("td", row.cells)))));
}

export function meter(share, warns = false) {
  const bar = h("i");
  bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span", { class: warns && share >= 0.9 ? "meter over" : "meter", "aria-hidden": "true" }, bar);
}
