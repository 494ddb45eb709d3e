"""What `export` costs: seconds and peak memory of the conversion process, full-size `unet` and the compact networks.

The figures to hold for `unet`: below 4 GiB and 60 s for the whole command. One conversion at a time.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time

NETWORKS = ("unet", "unet:16", "model-v4", "enet")


def main() -> None:
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            command = [sys.executable, "-m", "keronyx", "export", network, "-o", f"{folder}/out", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        steps = {a["kind"]: a for a in json.loads(done.stdout)["artifacts"]}
        onnx = steps["onnx"]
        print(
            f"{network:<10} whole command {seconds:5.1f} s, largest process so far {peak:6,.0f} MiB; "
            f"ONNX alone {onnx['seconds']:4.1f} s, peak {onnx['peak_mib']:,.0f} MiB"
        )


main()
