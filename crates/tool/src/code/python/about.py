# Prints the version of Python and the packages that code can import, as JSON.
def _about():
    import importlib.metadata, json, re, sys

    found = {}
    for one in importlib.metadata.distributions():
        try:
            name, version = one.metadata["Name"], one.metadata["Version"]
            # What comes first on the path is what is imported.
            found.setdefault(re.sub("[-_.]+", "-", name).lower(), {"name": name, "version": version})
        except Exception:
            # A folder without a description is no package.
            continue
    packages = [package for _, package in sorted(found.items())]
    print(json.dumps({"version": "%d.%d.%d" % sys.version_info[:3], "packages": packages}))


_about()
