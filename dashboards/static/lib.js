/** What every view shares: one socket and buffer, one clock in the URL, JSON over fetch, formats, shapes, keys. */
export { link, subscribe, buffer, serverNow } from "./lib/link.js";
export { clock, route, go, hasPage, pageLinks } from "./lib/clock.js";
export { get, post, features, poll } from "./lib/api.js";
export { number, exact, decimals, quantity, age, since, spanOf, utc, utcMs, title, plural, staleAfter } from "./lib/format.js";
export { shape, paintShape, STATES } from "./lib/shapes.js";
export { h, put, mount, card, skeleton, empty, failure, token, everySecond } from "./lib/dom.js";
export { keys } from "./lib/keys.js";
export { fleet } from "./lib/fleet.js";
export { twin } from "./lib/twin.js";
