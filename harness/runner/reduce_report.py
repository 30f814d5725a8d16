# SPDX-License-Identifier: GPL-2.0
"""What `reduce` says: reduce.json, and from it alone what is printed."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .plan import Asked
from .race import Race
from .reduce_race import Rate
from .table import again

if TYPE_CHECKING:
    from .reduce import Outcome, Reduce


def told(what: "Reduce", out: "Outcome", folder: Path, kernel: str, asked: Asked = Asked()) -> dict[str, Any]:
    """reduce.json (results/README.md)."""
    from .main import relative
    from .reduce import SCHEMA, numbers
    result = what.found.result
    said = numbers((what.found.folder / "answer").read_text())
    cut = what.slice
    line = shlex.join(["./run.sh", "race", *asked.where(kernel, result.fs), "--channel", result.channel]) + " "
    race = {"options": what.asked.options(), "before": out.before.dump(), "tried": out.tried, "cuts": out.cuts,
            "after": out.after.dump() if out.after else None,
            "line": line + _with_seed(out.race, out.after) if out.race else "",
            "line_before": line + _with_seed(what.race, out.before)}
    return {"schema": SCHEMA, "run": folder.name, "folder": relative(folder), "kernel": kernel, "fs": result.fs,
            "channel": result.channel, "kinds": list(what.kinds), "budget_s": what.budget_s, "depth": what.depth,
            "recorded": {"case": relative(what.found.folder), "kernel_version": result.kernel_version,
                         "resolution": result.resolution, "operations": int(said.get("operations", "0")),
                         "violations": int(said.get("violations", "0"))},
            "slice": {"operations": len(cut.kept), "of": cut.operations, "counts": cut.counts(), "faults": cut.faults,
                      "verbs": cut.verbs, "view": cut.view, "settled": bool(cut.settled),
                      "timeline": cut.timeline()} if cut else None,
            "race": race, "sequence": out.sequence, "explored": out.explored}


def _with_seed(race: Race, rate: Rate | None) -> str:
    """As it was measured: with a seed with which it did show, where there is one."""
    from dataclasses import replace
    if rate and rate.seeds:
        race = replace(race, seed=rate.seeds[0], seconds=rate.seconds or race.seconds)
    return race.options()


def sequence_text(data: dict[str, Any]) -> str:
    """reduced.seq: runs as it is."""
    s = data["sequence"]
    title = f"{' '.join(s['kinds'])}, cut down from a race of {data['channel']} on {data['fs']}"
    return (f"# {title}\n# failed {s['shown']} of {s['tries']} times: channel {s['channel']}, {data['fs']}, kernel "
            f"{data['kernel']}\n# from {data['recorded']['case']}\n# explored: {s['name']}\n{s['text']}")


def _rate(data: dict[str, Any]) -> str:
    out = f"{data['shown']} of {data['races']} races of {data['seconds']:g} s"
    per = data["violations_per_million"]
    return out + (f", {per:,.1f} violations in a million operations" if per is not None else "")


def _slice(data: dict[str, Any]) -> list[str]:
    cut = data["slice"]
    if not cut:
        return ["slice     none: the judge named no cells", ""]
    since = "" if cut["settled"] else ", nothing certain before them"
    return [f"slice     {cut['operations']} of {cut['of']:,} operations can matter ({cut['counts']}){since}",
            "          us after the cells were settled, how long, thread, operation",
            *("    " + row for row in cut["timeline"]), ""]


def _race(data: dict[str, Any]) -> list[str]:
    race = data["race"]
    out = [f"race      as it was: {_rate(race['before'])}"]
    stands = not race["after"] or race["after"]["shown"]
    if not stands:
        out.append(f"          cut down: {race['tried']} smaller races tried, none is kept")
    elif race["cuts"]:
        out.append(f"          cut down: {len(race['cuts'])} of {race['tried']} cuts kept (" +
                   "; ".join(c["what"] for c in race["cuts"]) + ")")
    elif race["tried"]:
        out.append(f"          none of {race['tried']} smaller races showed it")
    if race["after"]:
        out.append(f"          smaller:  {_rate(race['after'])} (fresh seeds)")
    if not stands:
        out.append("          what was cut down did not show it again: only the race as it was stands")
    if race["line"] or race["before"]["shown"]:
        out.append(f"          {race['line'] or race['line_before']}")
    return [*out, ""]


def _explored(e: dict[str, Any]) -> list[str]:
    done = e["depth_done"]
    out = [f"          {e['channel']}: ran {e['ran']:,} sequences over {len(e['steps'])} steps in {e['took_s']:,.0f} s, "
           + (f"all those of up to {done} steps among them" if done > 1 else "shortest first")
           + (f"; {e['not_covered']}" if e["not_covered"] else "")]
    out += [f"            left out {text}" for text in e["left_out"]]
    out += [f"            once, and not again: {', '.join(s['kinds'])}: " + "; ".join(s["text"].splitlines())
            for s in e["seen_once"]]
    return out


def _sequence(data: dict[str, Any]) -> list[str]:
    s = data["sequence"]
    race = data["race"]
    if not s:
        depth = min((e["depth_done"] for e in data["explored"]), default=0)
        shows = race["after"] if race["line"] else race["before"]
        if not depth:
            return ["sequence  not looked for: stopped before all of one step were run", ""]
        chance = f"it is chance only: {_rate(shows)}" if shows["shown"] else "nothing shows it any more"
        return [f"sequence  none of up to {depth} steps over what is left shows it; {chance}",
                *(line for e in data["explored"] for line in _explored(e)), ""]
    way = f"{s['resolution']} ({', '.join(s['kinds'])})"
    same = {"kind": "", "family": f"; the race's kind was {', '.join(data['kinds'])}",
            "": f"; this is another violation than the race's ({', '.join(data['kinds'])})"}[s["same"]]
    chance = "; a matter of chance too" if s["shown"] < s["tries"] else ""
    out = [f"sequence  failed {s['shown']} of {s['tries']}: {way}, channel {s['channel']}{same}{chance}", "",
           *("    " + line for line in s["text"].splitlines()), ""]
    out += [f"          {line[:200]}" for line in s["evidence"][:3]]
    if s["expected"].get("class", "guaranteed") != "guaranteed":
        out.append(f"          {s['expected']['class']}: {s['expected']['reference']}")
    out += [line for e in data["explored"] for line in _explored(e)]
    return [*out, ""]


def render(data: dict[str, Any], folder: str = "") -> str:
    folder = folder or data["folder"]
    was = data["recorded"]
    out = [f"recorded  {', '.join(data['kinds'])} on {was['kernel_version']}, {data['fs']}, {data['channel']}: "
           f"{was['violations']:,} violations in {was['operations']:,} operations", ""]
    out += _slice(data) + _race(data) + _sequence(data)
    if data["sequence"] and data["sequence"]["cases"]:
        case = again(folder, data["sequence"]["cases"][0])
        why = data["sequence"].get("not_exported", "")
        out += [f"repeat    {case} --times {data['sequence']['tries']}",
                f"export    not as a program: {why}" if why else f"export    {case} --export c"]
    elif data["race"]["line"] and data["race"]["after"]["cases"]:
        out.append(f"repeat    {again(folder, data['race']['after']['cases'][0])} --times 5")
    elif data["race"]["before"]["cases"]:
        out.append(f"repeat    {again(folder, data['race']['before']['cases'][0])} --times 5")
    return "\n".join([*out, f"results   {folder}"]) + "\n"
