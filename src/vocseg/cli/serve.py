"""``vocseg serve``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.options import Classes, Pass, Positive, check_network, class_names

Text = Annotated[list[str] | None, Parameter(negative=())]
TOKEN = "VOCSEG_TOKEN"


def serve(
    model: str = "vocseg-s",
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8000,
    token: Annotated[str | None, Parameter(env_var=TOKEN, show_env_var=True)] = None,
    allow_host: Text = None,
    cors: Text = None,
    workers: Positive | None = None,
    queue: Positive = 32,
    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=86400))] = 30.0,
    max_bytes: Positive = 32 << 20,
    label_studio_url: Annotated[str | None, Parameter(env_var="LABEL_STUDIO_URL", show_env_var=True)] = None,
    label_studio_key: Annotated[str | None, Parameter(env_var="LABEL_STUDIO_API_KEY", show_env_var=True)] = None,
    log_format: Literal["text", "json"] = "text",
    classes: Classes = None,
    run: Pass = Pass(),
) -> None:
    """Segment images over HTTP, and in a browser. Needs the extra serve.

    The page is at the address that is printed, the API's description at `/docs`. Ctrl-C or SIGTERM ends it after the
    images that are at work.

    ```
    vocseg serve
    vocseg serve runs/mine/best.safetensors --port 8080
    VOCSEG_TOKEN=secret vocseg serve --host 0.0.0.0 --log-format json
    curl -F image=@photo.jpg -o mask.png localhost:8000/v1/predict
    ```

    Args:
        model: Model file or name.
        host: Address to listen on. Others than this machine's own, 127.0.0.1 and ::1, need --token.
        port: Port to listen on. 0: any free one.
        token: What clients must send as `Authorization: Bearer TOKEN`. Better set in the environment, where other users
            do not see it.
        allow_host: Another name of the server, by which clients may ask for it, repeatable.
        cors: Origin whose pages may use the service, e.g. https://example.org, repeatable.
        workers: Images that are segmented at the same time, each with its share of the processors. Default: one for each
            processor; 2 on a GPU. 1: one image after another, each as fast as it can be.
        queue: Images that may wait; more get status 429.
        timeout: Seconds that an upload may take, and then its answer.
        max_bytes: Bytes that a request may have. --max-pixels limits images; here the default is 25 million.
        label_studio_url: Address of the Label Studio whose images are read for its tasks, e.g. http://localhost:8080.
        label_studio_key: Access token that Label Studio gave out. Better set in the environment.
        log_format: Lines of the log: text, or JSON objects.
    """
    check_network(run, model)  # fail before torch is imported
    from vocseg.app.serve import require_packages

    require_packages()
    from vocseg.app.serve import serve as make_app
    from vocseg.app.serve.access_log import log_to_stdout
    from vocseg.app.serve.gate import is_loopback
    from vocseg.app.serve.server import address, listen
    from vocseg.app.serve.server import run as listen_until_signal
    from vocseg.errors import SettingError

    if token is None and not is_loopback(host):
        raise SettingError(
            f"--host {host} without a token would let anybody who reaches this machine use it; set {TOKEN}, or --token"
        )
    with listen(host, port) as listener:
        app = make_app(
            model, token=token, hosts=allow_host or (), cors=cors or (), workers=workers, queue=queue, timeout=timeout,
            max_bytes=max_bytes, label_studio_url=label_studio_url, label_studio_key=label_studio_key,
            classes=class_names(classes), **asdict(run),
        )  # fmt: skip
        log = log_to_stdout(log_format)
        shown = address(host, listener.getsockname()[1])
        listen_until_signal(app, listener, lambda: log.info("vocseg serves %s at http://%s", model, shown))
        log.info("ended")
