"""An S3 server for readers, with one bucket: moto on a loopback port of its own. It checks no signatures; the server inside the test process does.

    python serve_s3.py BUCKET

Prints its address in one line, and ends when its standard input does.
"""

import logging
import os
import sys
import urllib.request

# Read when moto is imported: parts may be small, so that small objects can be put in several.
os.environ["S3_UPLOAD_PART_MIN_SIZE"] = "1"

from moto.server import ThreadedMotoServer


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = "http://%s:%d" % (host, port)
    urllib.request.urlopen(urllib.request.Request("%s/%s" % (address, sys.argv[1]), method="PUT")).close()
    print(address, flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
