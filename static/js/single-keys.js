// Pages that are worked through like the labelling screen, one page per answer: their keys.
import * as keys from "./key-presses.js";

for (const part of document.querySelectorAll("[data-needs-js]")) part.hidden = false;
if (document.querySelector("[data-use-keys]")) keys.listen();
