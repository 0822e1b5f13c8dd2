"""Servers that `python benchmarks/serve.py` compares with `vocseg serve`: LitServe, gradio, and the network alone.

python benchmarks/serve_peers.py litserve --port 8001
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

SIZE = 500, 375


def jpegs() -> list[bytes]:
    """Return the sample photographs as JPEG files of SIZE."""
    from vocseg.data.samples import FOLDER

    found = []
    for path in sorted((FOLDER / "JPEGImages").glob("*.jpg")):
        content = io.BytesIO()
        Image.open(path).convert("RGB").resize(SIZE).save(content, "JPEG", quality=90)
        found.append(content.getvalue())
    return found


def bare(workers: int, engine: str) -> None:
    """Segment as many images in memory as each line of standard input says, and print the seconds."""
    import torch

    import vocseg
    from vocseg.inference.images import to_pixels
    from vocseg.utils.system import cores

    vocseg.tune_process()
    segment, images = vocseg.Segmenter(device="cpu", engine=engine), [to_pixels(content) for content in jpegs()]
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(max(1, cores() // workers),))
    for line in sys.stdin:
        start = time.perf_counter()
        list(pool.map(lambda number: segment.low_res_logits(images[number % len(images)][None]).classes(), range(int(line))))
        print(time.perf_counter() - start, flush=True)


def litserve_api(engine: str) -> Any:
    """Return LitServe's object; its workers, started with spawn, make theirs by this function too."""
    import litserve
    from fastapi import Response

    class Api(litserve.LitAPI):
        def __reduce__(self) -> Any:
            return litserve_api, (engine,), self.__dict__

        def setup(self, device: str) -> None:
            import torch

            import vocseg

            vocseg.tune_process()
            torch.set_num_threads(1)
            self.segment = vocseg.Segmenter(device="cpu", engine=engine)

        def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe looks at annotations
            return base64.b64decode(request["image"])

        def predict(self, content: bytes) -> Any:
            return self.segment(content)

        def encode_response(self, result: Any) -> Response:
            from vocseg.app.serve.answers import mask_png

            return Response(mask_png(result), media_type="image/png")

    return Api()


def serve_litserve(port: int, workers: int, engine: str) -> None:
    """LitServe, with a process a worker."""
    import litserve

    server = litserve.LitServer(litserve_api(engine), accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False)


def serve_gradio(port: int, workers: int, engine: str) -> None:
    """gradio, with as many images at a time."""
    import gradio
    import torch

    import vocseg
    from vocseg import draw

    vocseg.tune_process()
    torch.set_num_threads(1)
    segment = vocseg.Segmenter(device="cpu", engine=engine)

    def mask(image: Any) -> Any:
        torch.set_num_threads(1)
        result = segment(image)
        return draw.palette_image(result.mask, result.info.palette)

    page = gradio.Interface(
        mask, gradio.Image(type="pil"), gradio.Image(type="pil", format="png"), api_name="mask", concurrency_limit=workers
    )
    page.launch(server_name="127.0.0.1", server_port=port, quiet=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("bare", "litserve", "gradio"))
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=2, help="images at the same time")
    parser.add_argument("--engine", default="auto")
    given = parser.parse_args()
    if given.mode == "bare":
        bare(given.workers, given.engine)
    else:
        {"litserve": serve_litserve, "gradio": serve_gradio}[given.mode](given.port, given.workers, given.engine)


if __name__ == "__main__":
    main()
