"""The command line; its commands stand in `svdflow.command_line`."""

import sys

from svdflow.command_line.parser import main

if __name__ == "__main__":
    sys.exit(main())
