// From a drop or a choice to the files that are sent: folders are walked, and what file managers leave behind is left out.

const LEFT_BEHIND = /^(\.|Thumbs\.db$|desktop\.ini$|__MACOSX$)/i;

export function chosen(list) {
  return [...list].filter((file) => file.size > 0 && !file.webkitRelativePath.split("/").concat(file.name).some((part) => LEFT_BEHIND.test(part)));
}

export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // at once: the list is empty after the event
  if (!entries.length) return chosen(transfer.files);
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (LEFT_BEHIND.test(entry.name)) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return file.size > 0 ? [file] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(walk))).flat();
}
