// Rendering that keeps up with any rate of records.

/**
 * Returns a function that requests a call of `render` in an animation frame, at least `interval` milliseconds after the
 * last one. Hidden pages have no animation frames: they render once they are visible.
 */
export function throttled(render: () => void, interval: number): () => void {
  let requested = false;
  let last = -interval;
  const frame = () => {
    requested = false;
    last = performance.now();
    render();
  };
  return () => {
    if (requested) return;
    requested = true;
    const wait = last + interval - performance.now();
    if (wait > 0) setTimeout(() => requestAnimationFrame(frame), wait);
    else requestAnimationFrame(frame);
  };
}
