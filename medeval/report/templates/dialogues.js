// Rated dialogues: one item's evidence stands out, and only dialogues of one tag are shown. Without a script all is shown.
for (const holder of document.querySelectorAll("div.dialogues")) {
  const pick = holder.querySelector(".pick");
  const [byItem, byTag, shown] = [".by-item", ".by-tag", ".shown"].map((name) => pick.querySelector(name));
  const has = (node, name, value) => (node.dataset[name] ?? "").split(" ").includes(value);
  const update = () => {
    const talks = [...holder.querySelectorAll("details.talk")];
    for (const talk of talks) talk.hidden = byTag.value !== "" && !has(talk, "tags", byTag.value);
    holder.classList.toggle("chosen", byItem.value !== "");
    for (const node of holder.querySelectorAll("[data-items]")) {
      node.classList.toggle("cited", byItem.value !== "" && has(node, "items", byItem.value));
    }
    const visible = talks.filter((talk) => !talk.hidden);
    if (visible.length && !visible.some((talk) => talk.open)) visible[0].open = true;
    shown.textContent = byTag.value === "" ? "" : `${visible.length} of ${talks.length}`;
    for (const talk of visible) if (talk.open && byItem.value !== "") {
      const [list, first] = [talk.querySelector(".turns"), talk.querySelector(".turns .cited")];
      if (first) list.scrollTop = first.offsetTop - list.offsetTop - 8;
    }
  };
  byItem.addEventListener("change", update);
  byTag.addEventListener("change", update);
  pick.hidden = false;
}
