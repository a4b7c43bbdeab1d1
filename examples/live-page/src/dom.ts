// Finds the elements of index.html.

/** The element with this id. A missing one is a mistake in index.html. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element with the id ${id}`);
  return element as E;
}
