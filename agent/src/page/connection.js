// The way to the agent: the history once, then its stream; where that cannot be had, the newest rows now and then.

const RETRY_STREAM = 30_000;

export class Connection {
  /** `changed` is called after each change of the store, `state` with the way's name, `off` if no history is kept. */
  constructor(store, { changed, state, off }) {
    Object.assign(this, { store, changed, state, off });
    this.source = null;
    this.timer = null;
    this.loading = false;
    // A tab that nobody sees costs nothing, and gives its stream to others.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
  }

  async open() {
    this.close();
    if (!(await this.load())) return;
    if (!document.hidden) this.listen();
  }

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
  }

  listen() {
    this.source?.close();
    const source = new EventSource("/api/v1/stream");
    this.source = source;
    let broken = false;
    source.onopen = () => {
      clearTimeout(this.timer);
      this.state("live");
      // What came while it was broken.
      if (broken) this.load();
      broken = false;
    };
    source.onmessage = ({ data }) => {
      if (this.store.apply(JSON.parse(data))) this.changed();
      else this.load();
    };
    source.onerror = () => {
      broken = true;
      // The browser comes back by itself, unless the agent has no stream left for it.
      if (source.readyState === EventSource.CLOSED) {
        this.poll(performance.now() + RETRY_STREAM);
      } else {
        this.state("broken");
      }
    };
  }

  poll(until) {
    clearTimeout(this.timer);
    const pause = Math.max(2000, this.store.interval * 1000);
    this.timer = setTimeout(async () => {
      if (performance.now() > until) return this.listen();
      const since = Math.ceil(Date.now() / 1000 - (this.store.times.at(-1) ?? 0)) + 1;
      const rows = await this.get(`?since=${Math.max(since, 1)}`);
      if (rows) {
        this.state("polling");
        if (this.store.merge(rows)) this.changed();
        else await this.load();
      }
      this.poll(until);
    }, pause);
  }

  async load() {
    if (this.loading) return true;
    this.loading = true;
    const document = await this.get("");
    this.loading = false;
    if (document) {
      this.store.load(document);
      this.changed();
    }
    return document;
  }

  async get(query) {
    try {
      const response = await fetch(`/api/v1/history${query}`);
      if (response.ok) return await response.json();
      if (response.status === 404) {
        this.off();
        return null;
      }
    } catch {
      // Not there, or no longer: said below, tried again.
    }
    this.state("broken");
    if (query === "") this.timer = setTimeout(() => this.open(), 2000);
    return null;
  }
}
