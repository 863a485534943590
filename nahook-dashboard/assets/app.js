// What the pages can do with a script; all of it works without one.

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = zone.format(new Date(time.dateTime));
  }
}

async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  // Browsers have that where pages come by https or from this machine, and this everywhere.
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
  getSelection().removeAllRanges();
}

function addCopyButtons(root) {
  for (const text of root.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${text.dataset.copy}`);
    button.addEventListener("click", async () => {
      await copy(text);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    text.after(button);
  }
}

// A live region is loaded again whenever the server says that something has changed.
function keepLive() {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  const changes = new EventSource(live.dataset.live);
  changes.addEventListener("changed", async () => {
    if (document.hidden || live.contains(document.activeElement)) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return changes.close();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const region = fresh.querySelector("[data-live]");
    if (!region) return;
    showTimes(region);
    addCopyButtons(region);
    live.replaceChildren(...region.childNodes);
  });
  addEventListener("pagehide", () => changes.close());
}

showTimes(document);
addCopyButtons(document);
keepLive();
