/* Browsers start no workers where a page was opened as a file. The search is one: there, a hidden frame does its work. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe")
    #ready

    constructor(script) {
      super()
      this.#frame.hidden = true
      document.documentElement.append(this.#frame)
      const inside = this.#frame.contentWindow
      const load = address => new Promise((done, failed) => {
        const element = inside.document.createElement("script")
        element.src = address
        element.onload = done
        element.onerror = failed
        inside.document.body.append(element)
      })
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}))
      inside.importScripts = (...scripts) => scripts.reduce((done, one) => done.then(() => load(one)), Promise.resolve())
      this.#ready = load(new URL(script, document.baseURI).href)
    }

    postMessage(data) {
      this.#ready.then(() => this.#frame.contentWindow.dispatchEvent(new MessageEvent("message", {data})))
    }

    terminate() {
      this.#frame.remove()
    }
  }
}
