// Tables that the client has stored.

/** The keys that are stored in this browser, of all tables. */
export function stored(): Promise<unknown[]> {
  return new Promise((resolve) => {
    const opening = indexedDB.open("sluicegate");
    opening.onsuccess = () => {
      const keys = opening.result.transaction("rows").objectStore("rows").getAllKeys();
      opening.result.close();
      keys.onsuccess = () => resolve(keys.result.map((path) => (path as unknown[])[2]));
    };
  });
}
