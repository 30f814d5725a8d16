# SPDX-License-Identifier: GPL-2.0
"""What an exploration prints: how far each cell got, and a short list of findings. From run.json alone."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from . import controls
from .expect import asleep_in
from .findings import embeds, pattern, steps_from, verbs
from .store import CaseResult

EVIDENCE_LINES = 4
_NEWS = ("differs", "fixed", "broken")


@dataclass
class Group:
    """The same steps with the same family of violation, over all cells that show them; or hangs in one function."""

    family: str
    found: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> Any:
        return pattern(steps_from(self.shortest["steps"]))

    @property
    def others(self) -> list[str]:
        """Steps beside the shortest's that come to the same."""
        words = [" ".join(verbs(steps_from(f["steps"]))) for f in self.found]
        return [w for w in dict.fromkeys(words) if w != self.words]

    @property
    def words(self) -> str:
        return " ".join(verbs(self.steps))

    @property
    def shortest(self) -> dict[str, Any]:
        return min(self.found, key=lambda f: (f["outcome"] not in _NEWS, len(f["steps"]), -f["shown"]))

    @property
    def under(self) -> int:
        return sum(f["under"] for f in self.found)

    @property
    def news(self) -> bool:
        return any(f["outcome"] in _NEWS for f in self.found)


def _cell(f: dict[str, Any]) -> str:
    return f"{f['kernel']}/{f['fs']}/{f['channel']}"


def _key(f: dict[str, Any]) -> Any:
    """What sleeps for good in the same function has the same cause, whatever woke nobody; `running` is no function."""
    where = asleep_in(f["why"]) if f["family"] == "hang" else ""
    return (where if where not in ("", "running") else pattern(steps_from(f["steps"])), f["family"])


def groups(cells: list[dict[str, Any]], key: str = "findings") -> list[Group]:
    by: dict[Any, Group] = {}
    for cell in cells:
        for f in cell.get(key, []):
            by.setdefault(_key(f), Group(f["family"])).found.append(f)
    return sorted(by.values(), key=lambda g: (not g.news, len(g.steps), -g.under))


def _compress(ids: list[str], every: list[str]) -> str:
    """Cells as KERNELS / FILESYSTEMS / CHANNELS where they are such a product, else one by one."""
    if not ids:
        return "none"
    if len(ids) == len(every) and len(ids) > 1:
        return f"all {len(ids)} cells"
    parts: dict[tuple[str, str], list[str]] = {}
    for i in ids:
        kernel, fs, channel = i.split("/", 2)
        parts.setdefault((kernel, fs), []).append(channel)
    merged: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (kernel, fs), channels in parts.items():
        merged.setdefault((kernel, tuple(channels)), []).append(fs)
    return "; ".join(f"{kernel}: {' '.join(fs)} ({' '.join(channels)})" for (kernel, channels), fs in merged.items())


def _where_not(group: Group, cells: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Cells that ran such sequences and do not show it, and those that could not run them."""
    shows = {_cell(f) for f in group.found}
    needs = set(verbs(group.steps))
    quiet, unable = [], []
    for cell in cells:
        name = _cell(cell)
        if name in shows:
            continue
        left_out = any(f["family"] in ("crash", "hang") and embeds(steps_from(f["steps"]), group.steps)
                       for f in cell.get("findings", []))
        if not cell.get("ran") or cell["depth_done"] < len(verbs(group.steps)) or needs & set(cell["dropped"]) \
                or ("hold" in needs and not cell.get("holds", True)) or left_out:
            unable.append(name)
        else:
            quiet.append(name)
    return quiet, unable


def _group_lines(number: int, group: Group, cells: list[dict[str, Any]], markdown: bool) -> list[str]:
    f = group.shortest
    every = [_cell(c) for c in cells]
    quiet, unable = _where_not(group, cells)
    kinds = ", ".join(dict.fromkeys(k for g in group.found for k in g["kinds"]))
    classes = Counter(g["expected"].get("class", "") for g in group.found)
    rates = sorted({f"{g['shown']} of {g['tries']}" for g in group.found if g["tries"]}) or ["in no"]
    out = [f"{number}. {kinds}: {group.words}"
           f" ({'/'.join(c for c in classes if c)}; {', '.join(dict.fromkeys(g['outcome'] for g in group.found))})", ""]
    out += ["       " + line for line in f["text"].splitlines()] + [""]
    out.append(f"   shown   {' or '.join(rates[:3])} repeats; {group.under:,} sequences fell under it"
               + (f", {sum(g['unseen'] for g in group.found):,} of them not run" if any(
                   g["unseen"] for g in group.found) else ""))
    if group.others:
        out.append(f"   also    {'; '.join(group.others)}")
    out.append(f"   on      {_compress(list(dict.fromkeys(_cell(g) for g in group.found)), every)}")
    if quiet:
        out.append(f"   not on  {_compress(quiet, every)}")
    if unable:
        out.append(f"   not run {_compress(unable, every)}")
    if f["why"]:
        out.append(f"   why     {f['why'][:300]}")
    out += [f"   {'judge' if not i else '     '}   {line[:240]}" for i, line in enumerate(f["evidence"][:EVIDENCE_LINES])]
    if f["expected"].get("reference"):
        out.append(f"   known   {f['expected']['reference']} ({f['expected']['rule']})")
    if f["cases"]:
        out.append(f"   repeat  ./run.sh repro {{folder}}/cases/{f['cases'][0]}")
    return [*(["```"] if markdown else []), *out, *(["```"] if markdown else []), ""]


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'s' * (n != 1)}"


def _cell_line(cell: dict[str, Any]) -> list[str]:
    rate = cell["ran"] / cell["wall_s"] if cell["wall_s"] else 0.0
    all_of_it = cell["ran"] / cell["took_s"] if cell["took_s"] else 0.0
    note = cell["not_covered"] or ("" if cell["finished"] else f"stopped in depth {cell['depth']}")
    return [_cell(cell), str(cell["depth_done"]), f"{cell['ran']:,}",
            f"{rate:,.0f} ({max(cell['best_rate'], rate):,.0f}; {all_of_it:,.0f})",
            f"{1000 * cell['cpu_s'] / cell['ran']:.2f}", str(len(cell["findings"])), note]


def _grid(rows: list[list[str]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]


def _section(title: str, lines: list[str], markdown: bool) -> list[str]:
    return [*([f"## {title}", ""] if markdown else [f"{title}", ""]), *lines, ""] if lines else []


def _commonest(reasons: Counter[str], most: int) -> str:
    rest = sum(reasons.values()) - sum(n for _, n in reasons.most_common(most))
    return "; ".join([*(f"{why} ({n:,})" for why, n in reasons.most_common(most)), *[f"others ({rest:,})"] * bool(rest)])


def _sums(cells: list[dict[str, Any]]) -> list[str]:
    ran = [c for c in cells if c.get("ran")]
    total = sum(c["ran"] for c in ran)
    resolutions: Counter[str] = Counter()
    inconclusive: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for c in cells:
        broken.update(c.get("broken", {}))
    for c in ran:
        resolutions.update(c["resolutions"])
        inconclusive.update(c["inconclusive"])
        skipped.update(c["skipped"])
    out = [f"{_plural(total, 'sequence')}: {sum(c['coherent'] for c in ran):,} coherent, and "
           f"{sum(c['idle'] for c in ran):,} of which a fault had no effect; "
           + ", ".join(f"{word} {n:,}" for word, n in resolutions.most_common())]
    if inconclusive:
        out.append(f"inconclusive: {_commonest(inconclusive, 6)}")
    if skipped:
        out.append(f"not covered: {_commonest(skipped, 8)}")
    if broken:
        out.append(f"{_plural(sum(broken.values()), 'sequence')} could not be run: {_commonest(broken, 6)}")
    looked = sum(c["looked_after_remount"] for c in ran)
    unseen = sorted({c["fs"] for c in ran if not c["looked_after_remount"]})
    out.append(f"views: mmap, buffered, direct and dropped of every sequence; {looked:,} files once more after a remount"
               + (f" (not on {' '.join(unseen)})" if unseen else ""))
    out.append("pins: that a pin was there was not counted, for many sequences run at once; the repeats of a finding count")
    return out


def _set_aside(cells: list[dict[str, Any]]) -> list[str]:
    """The first of those that sleep in the same function, or came to the same otherwise; and how many more."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for cell in cells:
        for text in cell.get("set_aside", []):
            where = re.search(r"\bin [A-Z] (\w+)", text)
            key = f"{text.split(' ')[0]} {where[1]}" if where else re.sub(r"\bsequence \d+", "sequence", text)
            alike.setdefault(key, []).append((_cell(cell), text))
    every = [_cell(c) for c in cells]
    return [f"{same[0][0]}: {same[0][1]}"
            + (f"; {len(same) - 1:,} more like it: {_compress(list(dict.fromkeys(c for c, _ in same[1:])), every)}"
               if same[1:] else "") for same in alike.values()]


def render(meta: dict[str, Any], _results: list[CaseResult], folder: str, markdown: bool = False) -> str:
    about = meta["explore"]
    cells = list(about["cells"].values())
    for cell in cells:
        hold = meta.get("channels", {}).get(cell["channel"], {}).get("hold", "inflight")
        cell["holds"] = hold == "inflight"
    out = [f"# exploration {meta['run']}", ""] if markdown else []
    shard = f", shard {about['shard']}/{about['shards']}" if about["shards"] > 1 else ""
    out += [f"alphabet {about['alphabet']['name']} ({about['alphabet']['title']}), depth {about['depth']}{shard}", ""]
    rows = [["kernel/filesystem/channel", "depth", "sequences", "a second (best; in all)", "CPU ms each", "findings", ""],
            *(_cell_line(c) for c in cells if c.get("ran"))]
    out += [*(["```"] if markdown else []), *_grid(rows), *(["```"] if markdown else []), ""]
    out += _sums(cells) + [""]
    by_reason: dict[str, list[str]] = {}
    not_begun = f"not begun in {about['budget_s']:g} s" if about.get("budget_s") else "not begun"
    for cell in cells:
        if not cell.get("ran"):
            by_reason.setdefault(cell.get("not_covered") or not_begun, []).append(_cell(cell))
    wanted = [_cell(c) for c in cells]
    out += _section("not covered", [f"{why}: {_compress(ids, wanted)}" for why, ids in by_reason.items()], markdown)
    all_groups, seen = groups(cells), groups(cells, "seen")
    for title, chosen in (("not as expected", [g for g in all_groups if g.news]),
                          ("as expected (unsupported or known)", [g for g in all_groups if not g.news]),
                          ("seen on the fast path, and not again", groups(cells, "unconfirmed")),
                          ("seen, not confirmed: budget over", seen)):
        lines = [line for n, g in enumerate(chosen, 1) for line in _group_lines(n, g, cells, markdown)]
        out += _section(title, [line.replace("{folder}", shlex.quote(folder)) for line in lines], markdown)
    unlaid = [f"{_cell(c)}: {u['kind']} in one of {u['first']} to {u['last']}"
              + ", no news of some of them" * u.get("excused", False) + f": {u['text']}"
              for c in cells for u in c.get("unlaid", [])]
    out += _section("seen of a batch, and not looked for which sequence it was: budget over", unlaid, markdown)
    notes = [f"{n['kind']}: {n['text']} (first {n['cases'][0]})" for n in meta.get("notes", []) if n.get("cases")]
    out += _section("findings of whole batches", notes, markdown)
    aside = _set_aside(cells)
    out += _section("set aside", aside[:20] + [f"and {len(aside) - 20:,} more, in run.json"] * (len(aside) > 20), markdown)
    for name, facts in meta.get("kernels", {}).items():
        if facts.get("error"):
            out.append(f"kernel {name} was not finished: {facts['error']}")
    checks = meta.get("controls", [])
    out += _section("controls that failed: nothing above holds", controls.failures(checks), markdown)
    if controls.summary(checks):
        out.append(controls.summary(checks))
    if seen or unlaid:
        out.append(f"{_plural(len(seen) + len(unlaid), 'thing')} seen and not confirmed; ./run.sh explore --resume "
                   f"{shlex.quote(folder)} --budget TIME goes on with that")
    fell = sum(g.under for g in all_groups)
    out.append(f"{_plural(len(all_groups), 'finding')} ({sum(g.news for g in all_groups)} not as expected) of "
               f"{_plural(fell, 'failing sequence')}; seed {meta.get('seed')}; results in {folder}")
    return "\n".join(out) + "\n"
