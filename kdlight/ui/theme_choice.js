// Dark unless the person chose otherwise, and one choice for every page: Streamlit keeps it per address, and writes
// "System" of its own accord on the first visit. Our mark says that an address is past that.
const PAGES = ["/", "/read", "/compare", "/train", "/library"];
const start = location.pathname;
const key = (path) => `stActiveTheme-${path}-v2`;
const mark = (path) => `kdlight-theme-${path}`;

function share() {
  const chosen = localStorage.getItem(key(start));
  for (const page of [start, ...PAGES]) {
    if (chosen) localStorage.setItem(key(page), chosen);
    localStorage.setItem(mark(page), "asked");
  }
}

export default function () {
  const own = JSON.parse(localStorage.getItem(key(start)) ?? '"System"');
  const first = !localStorage.getItem(mark(start)) && own === "System";
  if (first) localStorage.setItem(key(start), JSON.stringify("Dark"));
  share();
  if (first && !matchMedia("(prefers-color-scheme: dark)").matches) location.reload();
  addEventListener("pagehide", share);
  return () => removeEventListener("pagehide", share);
}
