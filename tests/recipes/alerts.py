"""Runs recipes/alert.py against a robot on loopback: what it sends to each of the three, how it signs, and what it never prints.

    alerts.py ALERT

The robot listens as an HTTP proxy, so that the real hosts stand in the addresses and nothing leaves this machine.
"""

import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import runpy
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

# Called in this process, so that dozens of messages cost less than a second.
SCRIPT = runpy.run_path(sys.argv[1])
TOKEN, SECRET = "t0ken-of-the-robot", "SEC0f-the-robot"
ADDRESSES = {
    "dingtalk": f"http://oapi.dingtalk.com/robot/send?access_token={TOKEN}",
    "wecom": f"http://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={TOKEN}",
    "feishu": f"http://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}",
}
ACCEPTED = {"dingtalk": {"errcode": 0, "errmsg": "ok"}, "wecom": {"errcode": 0, "errmsg": "ok"}, "feishu": {"code": 0, "msg": "success"}}
ERROR = {"message": "the gateway answered code 2100", "hint": "check WDT_SID", "exit_code": 4}
FAILED = {"command": "sync", "account": "acme", "exit_code": 4, "error": ERROR, "rows": {"quarantined": 0}, "gaps": [], "warnings": []}


class Robot(BaseHTTPRequestHandler):
    """Keeps what it is told, and gives the answer that the test has set."""

    told, answer = [], (200, b"{}")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Robot.told.append((self.path, self.headers["Content-Type"], json.loads(body)))
        status, answer = Robot.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


robot = HTTPServer(("127.0.0.1", 0), Robot)
threading.Thread(target=robot.serve_forever, daemon=True).start()
PROXY = f"http://127.0.0.1:{robot.server_port}"


def alert(arguments, told, answer=(200, b'{"errcode": 0}'), **settings):
    """Runs the script: its exit code, its output, and what the robot was told."""
    Robot.told.clear()
    Robot.answer = answer
    os.environ.clear()
    os.environ.update({"http_proxy": PROXY, "no_proxy": "", **settings})
    # urllib keeps the proxies that it has seen first.
    urllib.request.install_opener(None)
    sys.stdin, output = io.StringIO(told if isinstance(told, str) else json.dumps(told)), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            SCRIPT["main"](arguments)
            code = 0
        except SystemExit as ended:
            print(ended.code)
            code = 1
    said = output.getvalue()
    assert TOKEN not in said and SECRET not in said, said
    return code, said, list(Robot.told)


def text_of(kind, body):
    if kind == "feishu":
        assert body["msg_type"] == "text", body
        return body["content"]["text"]
    assert body["msgtype"] == "text", body
    return body["text"]["content"]


def base64_hmac(key, signed):
    return base64.b64encode(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()).decode()


def each_robot_is_told_in_its_own_form():
    for kind, address in ADDRESSES.items():
        code, said, told = alert(["4"], FAILED, (200, json.dumps(ACCEPTED[kind]).encode()), ALERT_WEBHOOK=address)
        assert (code, said, len(told)) == (0, "", 1), (kind, code, said, told)
        path, content_type, body = told[0]
        assert path == address, (path, address)
        assert content_type.startswith("application/json"), content_type
        text = text_of(kind, body)
        for part in ("sync ended with exit code 4: credentials or address refused", "- acme: the gateway answered code 2100", "- acme: check WDT_SID"):
            assert part in text, (part, text)
        assert "sign" not in body and "sign" not in path


def signatures_are_those_of_the_vendors():
    before = time.time() - 1
    told = alert(["4"], FAILED, ALERT_WEBHOOK=ADDRESSES["dingtalk"], ALERT_SECRET=SECRET)[2]
    query = {name: values[0] for name, values in parse_qs(urlsplit(told[0][0]).query).items()}
    assert before <= int(query["timestamp"]) / 1000 <= time.time() + 1, query
    wanted = {"access_token": TOKEN, "timestamp": query["timestamp"], "sign": base64_hmac(SECRET, f"{query['timestamp']}\n{SECRET}")}
    assert query == wanted, (query, wanted)
    told = alert(["4"], FAILED, (200, b'{"code": 0}'), ALERT_WEBHOOK=ADDRESSES["feishu"], ALERT_SECRET=SECRET)[2]
    path, _, body = told[0]
    assert path == ADDRESSES["feishu"]
    assert before <= int(body["timestamp"]) <= time.time() + 1, body
    assert body["sign"] == base64_hmac(f"{body['timestamp']}\n{SECRET}", ""), body


def settings_may_stand_in_files(folder):
    webhook, secret = os.path.join(folder, "webhook"), os.path.join(folder, "secret")
    for file, text in ((webhook, ADDRESSES["dingtalk"] + "\n"), (secret, SECRET + "\n")):
        with open(file, "w", encoding="utf-8") as opened:
            opened.write(text)
    code, _, told = alert(["5"], FAILED, ALERT_WEBHOOK_FILE=webhook, ALERT_SECRET_FILE=secret)
    assert code == 0 and "&sign=" in told[0][0], told
    code, said, told = alert(["5"], FAILED, ALERT_WEBHOOK_FILE=os.path.join(folder, "none"))
    assert code == 1 and not told and "was not delivered" in said, said


def nothing_is_said_of_a_good_run():
    assert alert(["0"], FAILED, ALERT_WEBHOOK=ADDRESSES["wecom"]) == (0, "", [])


def without_a_robot_the_message_is_printed():
    code, said, _ = alert(["2"], "")
    assert code == 0 and "exit code 2: usage or configuration" in said and "there is no summary" in said, said
    code, said, _ = alert(["2"], "Traceback", WDT_LANG="zh")
    assert code == 0 and "的退出码是 2：用法或配置错误" in said and "没有摘要" in said, said


def every_account_and_what_it_needs_is_named():
    gap = {"window": {}, "error": {"message": "two totals differ", "hint": None}}
    quiet = {"account": "beta", "exit_code": 0, "error": None, "rows": {"quarantined": 0}, "gaps": [], "warnings": []}
    accounts = [
        {**quiet, "account": "acme", "exit_code": 3, "rows": {"quarantined": 12}},
        quiet,
        {**quiet, "account": "gamma", "exit_code": 7, "gaps": [gap, gap]},
        {"account": "delta", "error": {"message": "no secret", "hint": "set it"}, "exit_code": 2},
    ]
    _, said, _ = alert(["7"], {"command": "sync", "accounts": accounts, "exit_code": 7})
    lines = said.splitlines()[1:]
    wanted = ["- acme: 12 quarantined records", "- gamma: 2 gaps, the first: two totals differ", "- delta: no secret", "- delta: set it"]
    assert lines == wanted, lines


def a_long_message_fits_the_smallest_robot():
    long = {**FAILED, "error": {"message": "签名验证失败" * 2000, "hint": None}}
    _, _, told = alert(["4"], long, ALERT_WEBHOOK=ADDRESSES["wecom"])
    text = text_of("wecom", told[0][2])
    assert 1990 <= len(text.encode()) <= 2048 and text.endswith("..."), len(text.encode())


def what_was_not_delivered_is_said_without_the_address():
    refusals = [
        (200, b'{"errcode": 310000, "errmsg": "sign not match ' + TOKEN.encode() + b'"}'),
        (200, b'{"code": 19021, "msg": "sign match fail"}'),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"<html>" + TOKEN.encode()),
        (500, b""),
        (404, TOKEN.encode()),
    ]
    for answer in refusals:
        code, said, told = alert(["4"], FAILED, answer, ALERT_WEBHOOK=ADDRESSES["dingtalk"], ALERT_SECRET=SECRET)
        assert code == 1 and len(told) == 1 and "was not delivered" in said, (answer, code, said)
    wrong = [f"not an address {TOKEN}", f"http://oapi.dingtalk.com/a b?access_token={TOKEN}", f"http://[oapi.dingtalk.com/{TOKEN}",
             f"gopher://oapi.dingtalk.com/{TOKEN}", f"http://example.com/{TOKEN}"]
    for address in wrong:
        code, said, told = alert(["4"], FAILED, ALERT_WEBHOOK=address)
        assert code == 1 and not told and "was not delivered" in said, (address, code, said)
        assert "Traceback" not in said, said
    code, said, _ = alert(["4"], FAILED, ALERT_WEBHOOK=f"http://127.0.0.1:1/{TOKEN}", ALERT_KIND="wecom", http_proxy="")
    assert code == 1 and "no response: Connection refused" in said, said


def a_lake_that_is_not_looked_after_is_found():
    def ago(**span):
        return (datetime.now(timezone.utc) - timedelta(**span)).astimezone(timezone(timedelta(hours=8))).isoformat(timespec="seconds")

    well = {"account": "acme", "last_success_at": ago(minutes=12), "checked_until": ago(minutes=17), "gaps": []}
    cases = [
        (well, None),
        ({**well, "last_success_at": ago(minutes=31)}, "- acme: the last success was at "),
        ({**well, "last_success_at": None}, "- acme: no sync has succeeded yet"),
        ({**well, "checked_until": ago(minutes=37)}, "- acme: the ERP was last asked up to "),
        ({**well, "checked_until": ago(minutes=35)}, None),
        ({**well, "gaps": [{"start": ago(days=3), "end": ago(days=2)}]}, "- acme: 1 gaps that ended more than a day ago"),
        ({**well, "gaps": [{"start": ago(hours=3), "end": ago(hours=2)}]}, None),
        ({"account": "acme", "error": {"message": "the log is damaged", "hint": None}}, "- acme: the log is damaged"),
    ]
    for account, wanted in cases:
        code, said, _ = alert(["--max-age", "30m"], {"command": "status", "accounts": [account]})
        assert code == 0 and (wanted in said if wanted else said == ""), (account, said)
    assert "there is no summary" in alert(["--max-age", "30m"], "")[1]
    assert alert(["--max-age", "30"], "{}")[0] == 1


def main():
    each_robot_is_told_in_its_own_form()
    signatures_are_those_of_the_vendors()
    with tempfile.TemporaryDirectory() as folder:
        settings_may_stand_in_files(folder)
    nothing_is_said_of_a_good_run()
    without_a_robot_the_message_is_printed()
    every_account_and_what_it_needs_is_named()
    a_long_message_fits_the_smallest_robot()
    what_was_not_delivered_is_said_without_the_address()
    a_lake_that_is_not_looked_after_is_found()


main()
