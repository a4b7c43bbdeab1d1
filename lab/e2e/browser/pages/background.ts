// A tab in the background, which a browser without windows does not have: it has no animation frames, and its timers
// are slow.

/** Adds `setHidden` to a page. */
export function background(): void {
  const { setTimeout, requestAnimationFrame } = window;
  const frames: FrameRequestCallback[] = [];
  let isHidden = false;
  Object.defineProperty(document, "hidden", { get: () => isHidden });
  Object.defineProperty(document, "visibilityState", { get: () => (isHidden ? "hidden" : "visible") });
  const intervals = new Map<number, number>();
  const slowInterval = (handler: () => void, period = 0) => {
    const id = -1 - intervals.size;
    const next = () => {
      intervals.set(
        id,
        slowTimeout(() => {
          next();
          handler();
        }, period),
      );
    };
    next();
    return id;
  };
  const noInterval = (id: number) => clearTimeout(intervals.get(id));
  const slowTimeout = (handler: TimerHandler, timeout = 0, ...args: unknown[]) =>
    setTimeout(handler, isHidden ? Math.max(1000, timeout) : timeout, ...args);
  const set = (hidden: boolean) => {
    isHidden = hidden;
    document.dispatchEvent(new Event("visibilitychange"));
    if (!hidden) for (const frame of frames.splice(0)) requestAnimationFrame(frame);
  };
  const noFrame = (callback: FrameRequestCallback) =>
    isHidden ? frames.push(callback) : requestAnimationFrame(callback);
  const timers = { setTimeout: slowTimeout, setInterval: slowInterval, clearInterval: noInterval };
  Object.assign(window, timers, { requestAnimationFrame: noFrame, setHidden: set });
}
