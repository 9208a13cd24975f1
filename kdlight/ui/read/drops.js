// Streamlit keeps to itself that a file was too large or that its upload broke off: the drop zone shows it and the page
// never hears of it. This tells the page, so that nothing of an earlier scan stays beside a file that was not taken.
const watched = new WeakMap();
const CHIP = "[data-testid=stFileChip]", FAILED = "[data-testid=stFileChipIconError]";
// A run of the page that starts while Streamlit asks where to put the other files loses the answer, and they never come.
// They have their chips once it is there; this many ms after a drop the page is told without them.
const PATIENCE = 10_000;

export default function ({ parentElement, data, setTriggerValue }) {
  let watch = watched.get(parentElement);
  if (!watch) watched.set(parentElement, (watch = new Watch(parentElement)));
  watch.zone = data.zone;
  watch.limit = data.limit;
  watch.tell = (found) => setTriggerValue("rejected", found);
  return () => { watch.close(); watched.delete(parentElement); };
}

class Watch {
  constructor(root) {
    this.root = root;
    this.sizes = [];
    this.told = 0;
    this.until = 0;
    this.dropped = (event) => this.note(event, event.dataTransfer?.files);
    this.changed = (event) => this.note(event, event.target.files);
    document.addEventListener("drop", this.dropped, true);
    document.addEventListener("change", this.changed, true);
    this.observer = new MutationObserver(() => this.look());
    this.observer.observe(document.body, { childList: true, subtree: true });
  }

  close() {
    document.removeEventListener("drop", this.dropped, true);
    document.removeEventListener("change", this.changed, true);
    this.observer.disconnect();
    clearTimeout(this.later);
  }

  place() { return document.querySelector(`.st-key-${this.zone}`); }

  note(event, files) {
    if (!files || !this.place()?.contains(event.target)) return;
    this.sizes = [...files].map((file) => file.size);
    this.told = 0;
    this.until = Date.now() + PATIENCE;
  }

  look() {
    const failed = this.place()?.querySelectorAll(FAILED).length ?? 0;
    if (failed === 0 || failed === this.told) return;
    const left = this.until - Date.now();
    if (this.place().querySelectorAll(CHIP).length < this.sizes.length && left > 0) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.look(), left);
      return;
    }
    this.told = failed;
    const large = this.sizes.filter((size) => size > this.limit).length;
    this.tell({ failed, large, coming: Math.max(0, this.sizes.length - failed) });
  }
}
