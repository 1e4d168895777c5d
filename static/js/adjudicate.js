// Adjudication: digits decide, s leaves the pair for later, u takes the last decision back.
import * as keys from "./keys.js";

for (const part of document.querySelectorAll("[data-needs-js]")) part.hidden = false;
if (document.querySelector("[data-use-keys]")) keys.listen();
