// Dark unless the person chose otherwise, and one choice for every page: Streamlit keeps it per address.
const PAGES = ["/", "/read", "/compare", "/train", "/library"];
const start = location.pathname;
const key = (path) => `stActiveTheme-${path}-v2`;
const share = () => {
  const chosen = localStorage.getItem(key(start));
  if (chosen) for (const page of PAGES) localStorage.setItem(key(page), chosen);
};

export default function () {
  if (localStorage.getItem(key(start)) === null && !sessionStorage.getItem("kdlight-theme")) {
    localStorage.setItem(key(start), JSON.stringify("Dark"));
    sessionStorage.setItem("kdlight-theme", "asked");
    if (!matchMedia("(prefers-color-scheme: dark)").matches) location.reload();
  }
  share();
  addEventListener("pagehide", share);
  return () => removeEventListener("pagehide", share);
}
