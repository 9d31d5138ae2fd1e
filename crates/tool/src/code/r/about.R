# Prints the version of R and the packages that a guest finds, as JSON.
local({
  found <- utils::installed.packages(fields = character())[, c("Package", "Version"), drop = FALSE]
  # A package that is there twice is the one that `library` would find first.
  found <- found[!duplicated(found[, "Package"]), , drop = FALSE]
  found <- found[order(found[, "Package"], method = "radix"), , drop = FALSE]
  entries <- sprintf('{"name":"%s","version":"%s"}', found[, "Package"], found[, "Version"])
  cat(sprintf('{"version":"%s","packages":[%s]}\n', getRversion(), paste(entries, collapse = ",")))
})
