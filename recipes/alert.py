#!/usr/bin/env python3
"""Tells a group chat (DingTalk, WeCom or Feishu) how a run of wdt-lake ended. Python 3.9, nothing else.

    wdt-lake sync --lake LAKE --json > summary.json; code=$?
    alert.py $code < summary.json                                    # says nothing for code 0
    wdt-lake status --lake LAKE --json | alert.py --max-age 30m      # says nothing while all is well

Settings are environment variables:

    ALERT_WEBHOOK, or ALERT_WEBHOOK_FILE with a file that holds it    the robot's address; without one the message is printed
    ALERT_SECRET, or ALERT_SECRET_FILE                                the secret of DingTalk's or Feishu's signature, where one is set
    ALERT_KIND         dingtalk, wecom or feishu; by default what the host of the address says
    WDT_LANG           zh or en; by default what the locale says

The address and the secret are never printed. The exit code is 0, or 1 when the message was not delivered.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

HOSTS = {"dingtalk.com": "dingtalk", "weixin.qq.com": "wecom", "feishu.cn": "feishu", "larksuite.com": "feishu"}
# WeCom takes texts of 2,048 bytes, the others far more.
MOST_BYTES = 2000
TIMEOUT_SECONDS = 15
# How far behind the present a run stops: `--lag` of sync, and a minute.
LAG = timedelta(minutes=6)
OLD_GAP = timedelta(days=1)

TEXTS = {
    "en": {
        "ended": "[wdt-lake] {host}: {command} ended with exit code {code}: {meaning}",
        "stale": "[wdt-lake] {host}: the lake needs a look",
        "unknown": "unknown",
        "no_summary": "there is no summary; the reason stands in the log of the run",
        "quarantined": "{} quarantined records",
        "gaps": "{} gaps, the first: {}",
        "old_gaps": "{} gaps that ended more than a day ago",
        "never": "no sync has succeeded yet",
        "success": "the last success was at {}",
        "checked": "the ERP was last asked up to {}",
        1: "internal failure, or the output could not be written",
        2: "usage or configuration",
        3: "done, with something to look at",
        4: "credentials or address refused",
        5: "gateway unavailable",
        6: "lake unavailable, in use or in conflict",
        7: "incomplete",
        8: "a defect was found",
    },
    "zh": {
        "ended": "[wdt-lake] {host}：{command} 的退出码是 {code}：{meaning}",
        "stale": "[wdt-lake] {host}：数据湖需要看一看",
        "unknown": "未知",
        "no_summary": "没有摘要，原因见这次运行的日志",
        "quarantined": "{} 条记录被隔离",
        "gaps": "{} 个缺口，第一个：{}",
        "old_gaps": "{} 个一天以前的缺口",
        "never": "还没有一次同步成功",
        "success": "上次成功是在 {}",
        "checked": "向 ERP 查询到 {} 为止",
        1: "内部错误，或者输出无法写入",
        2: "用法或配置错误",
        3: "完成，但有内容要看一看",
        4: "密钥、权限或地址被拒绝",
        5: "网关不可用",
        6: "数据湖不可用、正被占用，或有冲突",
        7: "未完成",
        8: "发现数据缺陷",
    },
}


class Failure(Exception):
    """Why a message was not delivered, in words that hold neither the address nor the secret."""


def setting(name):
    """A variable's value, or the text of the file that it names with `_FILE`; none where neither is set."""
    file = os.environ.get(name + "_FILE")
    if file:
        with open(file, encoding="utf-8") as opened:
            return opened.read().strip()
    return os.environ.get(name, "").strip()


def texts():
    wanted = next((value for name in ("WDT_LANG", "LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "en")
    return TEXTS["zh" if wanted.startswith("zh") else "en"]


def summary_of(text):
    """The summary that `--json` printed; an empty one where there is none, as after a wrong option."""
    try:
        summary = json.loads(text)
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


def accounts_of(summary):
    accounts = summary.get("accounts", [summary])
    return [one for one in accounts if isinstance(one, dict)] if isinstance(accounts, list) else []


def error_lines(error):
    return [error[field] for field in ("message", "hint") if isinstance(error, dict) and error.get(field)]


def run_findings(account, words):
    """What is worth a person's look in one account's part of a summary."""
    found = error_lines(account.get("error"))
    rows, gaps = account.get("rows"), account.get("gaps") or []
    if isinstance(rows, dict) and rows.get("quarantined"):
        found.append(words["quarantined"].format(rows["quarantined"]))
    if gaps and not found:
        found.append(words["gaps"].format(len(gaps), " ".join(error_lines(gaps[0].get("error"))[:1])))
    return found + [str(warning) for warning in account.get("warnings") or []]


def run_message(code, summary, words):
    """What to say of a run that ended with `code`; nothing for 0."""
    if code == 0:
        return None
    meaning, command = words.get(code, words["unknown"]), summary.get("command", "wdt-lake")
    lines = [words["ended"].format(host=socket.gethostname(), command=command, code=code, meaning=meaning)]
    for account in accounts_of(summary):
        lines += [f"- {account.get('account', '?')}: {line}" for line in run_findings(account, words) if account]
    return "\n".join(lines if summary else [*lines, words["no_summary"]])


def status_findings(account, max_age, words):
    """What `status` says of an account that is not as it should be. `max_age` is how old the last success may be."""
    if account.get("error"):
        return error_lines(account["error"])
    now, found = datetime.now(timezone.utc), []
    success, checked = account.get("last_success_at"), account.get("checked_until")
    if not success:
        found.append(words["never"])
    elif now - datetime.fromisoformat(success) > max_age:
        found.append(words["success"].format(success))
    if checked and now - datetime.fromisoformat(checked) > max_age + LAG:
        found.append(words["checked"].format(checked))
    old = [gap for gap in account.get("gaps", []) if now - datetime.fromisoformat(gap["end"]) > OLD_GAP]
    return found + ([words["old_gaps"].format(len(old))] if old else [])


def status_message(summary, max_age, words):
    """What to say of a lake by the JSON of `status`; nothing while all is well."""
    lines = [f"- {account.get('account', '?')}: {line}"
             for account in accounts_of(summary) for line in status_findings(account, max_age, words)]
    if not summary:
        lines = [words["no_summary"]]
    return "\n".join([words["stale"].format(host=socket.gethostname()), *lines]) if lines else None


def shortened(message):
    """At most `MOST_BYTES` bytes of UTF-8, cut between characters."""
    encoded = message.encode()
    return message if len(encoded) <= MOST_BYTES else encoded[: MOST_BYTES - 3].decode(errors="ignore") + "..."


def kind_of(webhook):
    host = urllib.parse.urlsplit(webhook).hostname or ""
    kind = os.environ.get("ALERT_KIND") or next((HOSTS[end] for end in HOSTS if host.endswith(end)), None)
    if kind not in HOSTS.values():
        raise Failure("ALERT_KIND must be dingtalk, wecom or feishu: the host of the address is none that is known")
    return kind


def request_to(webhook, secret, message):
    """The address and the body by which a robot is told `message`."""
    kind = kind_of(webhook)
    body = {"msgtype": "text", "text": {"content": message}}
    if kind == "feishu":
        body = {"msg_type": "text", "content": {"text": message}}
    if secret and kind == "dingtalk":
        # DingTalk signs `milliseconds LF secret` with the secret; both stand in the address.
        now = str(round(time.time() * 1000))
        sign = base64.b64encode(hmac.digest(secret.encode(), f"{now}\n{secret}".encode(), hashlib.sha256)).decode()
        webhook += ("&" if "?" in webhook else "?") + urllib.parse.urlencode({"timestamp": now, "sign": sign})
    if secret and kind == "feishu":
        # Feishu signs nothing with `seconds LF secret` as the key; both stand in the body.
        now = str(round(time.time()))
        sign = base64.b64encode(hmac.digest(f"{now}\n{secret}".encode(), b"", hashlib.sha256)).decode()
        body.update(timestamp=now, sign=sign)
    return webhook, json.dumps(body, ensure_ascii=False).encode()


def deliver(webhook, secret, message):
    """Sends `message`. The texts of most exceptions hold the address, so only what is known to be without it is passed on."""
    try:
        address, body = request_to(webhook, secret, message)
        request = urllib.request.Request(address, body, {"Content-Type": "application/json; charset=utf-8"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            answer = json.loads(response.read(65536))
    except urllib.error.HTTPError as error:
        raise Failure(f"HTTP status {error.code}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise Failure(f"no response: {getattr(reason, 'strerror', None) or type(reason).__name__}") from None
    except ValueError as error:
        raise Failure(f"the address or the response cannot be read ({type(error).__name__})") from None
    except Exception as error:
        if isinstance(error, Failure):
            raise
        raise Failure(type(error).__name__) from None
    # All three answer a refusal with HTTP status 200, too.
    codes = [answer[name] for name in ("errcode", "code", "StatusCode") if name in answer] if isinstance(answer, dict) else []
    if not codes or codes[0] != 0:
        raise Failure(f"the robot refused it with code {codes[0] if codes else '(none)'}")


def span(text):
    """A span of time as wdt-lake writes it: `90s`, `30m`, `2h`, `1d`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found:
        sys.exit(f"alert.py: {text!r} is no span of time such as 30m")
    return timedelta(seconds=float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]])


def main(arguments):
    words = texts()
    if len(arguments) == 2 and arguments[0] == "--max-age":
        max_age = span(arguments[1])
        message = status_message(summary_of(sys.stdin.read()), max_age, words)
    elif len(arguments) == 1 and arguments[0].isdecimal():
        message = run_message(int(arguments[0]), summary_of(sys.stdin.read()), words)
    else:
        sys.exit("usage: alert.py CODE < SUMMARY, or alert.py --max-age SPAN < STATUS")
    if message is None:
        return
    try:
        webhook = setting("ALERT_WEBHOOK")
        if not webhook:
            print(message)
            return
        deliver(webhook, setting("ALERT_SECRET"), shortened(message))
    except (Failure, OSError) as failure:
        sys.exit(f"alert.py: the message was not delivered: {failure}")


if __name__ == "__main__":
    main(sys.argv[1:])
