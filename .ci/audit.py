"""What is known against the packages that requirements.lock pins: pip-audit's JSON report in, words and an exit status out.

1 when something is known. 0 when nothing is, and also when nobody could be asked, which is then said: pip-audit itself reports
"no known vulnerabilities" where its service answered for no package at all (seen behind a mirror that serves packages only).
"""

import json
import sys


def main() -> int:
    """Read the report, say what it means."""
    try:
        packages = json.load(sys.stdin)["dependencies"]
    except ValueError:
        packages = []
    known = [
        f"{p['name']} {p['version']}: {v['id']}, mended in {v['fix_versions']}" for p in packages for v in p.get("vulns", [])
    ]
    unasked = [p["name"] for p in packages if "vulns" not in p]
    answered = len(packages) - len(unasked)
    if not answered:
        print("audit: NOT DONE. No vulnerability service answers here; whether the pinned packages have any is not known.")
        return 0
    print(f"audit: {answered} packages asked about, {len(known)} vulnerabilities known.", *known, sep="\n  ")
    if unasked:
        print(f"audit: nothing could be learnt about {', '.join(unasked)}.")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
