"""Every GPU row of five networks in one go of less than nine minutes: one JSON report each, and one Markdown table.

On a machine without TensorFlow name a folder of exports made elsewhere: `--exports DIR` takes DIR/unet, DIR/unet-16 ...
Exit codes: 0 every network has a report; 1 some have none; 3 there is no GPU that ONNX Runtime can use.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keronyx import options
from keronyx.runtime import find

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = "enet,model-v4,unet:16,model-v4-pixel,unet"
"""Small ones first: what time runs out for is the largest."""

TO_SAVE_S = 20
"""Seconds an interrupted run has to save what it measured."""


def main() -> int:
    asked = arguments()
    if set(asked.providers.split(",")) & {"cuda", "tensorrt"} and (missing := find("ort", "cuda").missing()):
        print(f"no GPU rows can be measured here: {missing.reason} -> {missing.remedy}", file=sys.stderr)
        return 3
    asked.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + options.duration(asked.limit, "--limit") - TO_SAVE_S
    reports = {}
    for network in asked.networks.split(","):
        report = asked.out / f"{slug(network)}.json"
        report.unlink(missing_ok=True)  # an old one must not pass for this run's
        said = profile(network, report, asked, ends - time.monotonic())
        reports[network] = report if report.is_file() else None
        print(f"{network}: {report if report.is_file() else 'NO REPORT'} ({said})", flush=True)
    made = {network: report for network, report in reports.items() if report is not None}
    if made:
        (asked.out / "results.md").write_text("\n".join(table(report) for report in made.values()))
        print(asked.out / "results.md")
    return 0 if len(made) == len(reports) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu", help="folder of the reports")
    parser.add_argument("--exports", type=Path, help="folder of export folders, made with `keronyx export`")
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--providers", default="cuda,tensorrt,cpu")
    parser.add_argument("--runtimes", default="ort", help="comma-separated; with TensorFlow: ort,tf-graph,tf-xla")
    parser.add_argument("--budget", default="45s", help="measuring time of one network")
    parser.add_argument("--limit", default="9m", help="time for everything")
    return parser.parse_args()


def profile(network: str, report: Path, asked: argparse.Namespace, left_s: float) -> str:
    """Measure one network into `report`; what became of it, in words. Interrupted when `left_s` seconds are over."""
    source = str(asked.exports / slug(network)) if asked.exports else network
    if left_s <= 0:
        return "no time was left"
    if asked.exports and not Path(source).is_dir():
        return f"{source} is not there: keronyx export {network} -o {source}"
    chosen = ["--providers", asked.providers, "--runtimes", asked.runtimes, "--budget", asked.budget]
    child = subprocess.Popen([*command("profile"), source, *chosen, "-o", str(report), "--quiet"])
    try:
        return f"exit {child.wait(left_s)}"
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)  # saves what was measured
    try:
        return f"interrupted, exit {child.wait(TO_SAVE_S)}"
    except subprocess.TimeoutExpired:
        child.kill()
        return "did not end and was killed"


def table(report: Path) -> str:
    """The Markdown rendering of a stored report, which begins with the network's name as a heading."""
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder) / "report.md"
        subprocess.run([*command("report"), str(report), "-o", str(rendered)], check=True)
        return rendered.read_text()


def command(name: str) -> list[str]:
    return [sys.executable, str(ROOT / "cli.py"), name]


def slug(network: str) -> str:
    return network.replace(":", "-")


if __name__ == "__main__":
    raise SystemExit(main())
