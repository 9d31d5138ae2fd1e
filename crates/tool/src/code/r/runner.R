# Runs the code on descriptor 3 and tells its end on descriptor 4: one frame, `value`, `no value` or `exception`.
#
# What is defined here lives in an environment that nobody is attached to. The code itself is evaluated by a promise,
# straight above R's top level: a function of ours below it would be named in its errors and warnings ("Error in
# eval(...)"), found by `sys.calls`, and jumped to by `return`. So the loop at the end is no function either, and an
# error leaves it by its `break`, which R finds from anywhere above. `.Internal` calls stand there for the same reason.
#
# What only some runs need is in the second argument: rich results, and the stack of an error.

runner <- environment()
# What one that was forked has already.
native <- runner$native
parts <- runner$parts
# Compiling what runs once or twice costs a tenth of a start: it is for the code, and off where ours runs.
jit_level <- .Internal(enableJIT(0L))
first_pid <- Sys.getpid()
# What is asked of the runner, and what a script's own call would show: neither the runner nor its words.
words <- kept <- given <- character()
is_rich <- FALSE

# What is known when the run is there.
know <- function() {
  arguments <- .Internal(commandArgs())
  own <- arguments[-seq_len(match("--args", arguments))]
  runner$given <- own[1:3]
  runner$words <- strsplit(own[3L], ",", fixed = TRUE)[[1L]]
  runner$is_rich <- "rich" %in% words
  own <- own[-(1:3)]
  runner$kept <- c(arguments[1L], "--no-echo", "--no-restore", "--vanilla", if (length(own)) c("--args", own))
}

# A text field of a terminal frame.
text_bytes_max <- 1048580L
# How much of the code is read at once. R makes room for all of it, however little there is.
piece_bytes <- 65536L
# How often the frames' channel is tried, and the pause between: processes that were killed for room take a moment.
channel_tries <- 20L
channel_pause_s <- 0.05

code_path <- "/proc/self/fd/3"
code_name <- "<code>"
exprs <- NULL
at <- 0L
# How many frames of ours are below the code that runs now.
own_frames <- 0L
# The condition that ended the code, and the calls above it.
failure <- NULL
# The terminal frame, once it is known.
verdict <- NULL
# What R said of an error before the expression that runs now.
told_before <- geterrmessage()
# The exit status that we leave with, when the code does not.
own_status <- NULL
# Whether the code leaves by its own exit code.
is_leaving <- FALSE

later <- function(name) {
  if (is.null(runner$is_read)) {
    runner$is_read <- TRUE
    eval(if (is.null(parts)) parse(text = given[2L], keep.source = FALSE) else parts, runner)
  }
  get(name, runner)
}

quietly <- function(expr) tryCatch(suppressWarnings(suppressMessages(expr)), error = function(e) NULL)

valid <- function(text) {
  text <- enc2utf8(text)
  bad <- which(!validUTF8(text))
  text[bad] <- iconv(text[bad], "UTF-8", "UTF-8", sub = "byte")
  text
}

# The bytes of a field: at most `max`, and no half of a character.
bytes_of <- function(text, max = text_bytes_max) {
  bytes <- charToRaw(valid(paste(text, collapse = "\n")))
  if (length(bytes) > max) {
    while (max > 0L && bitwAnd(as.integer(bytes[max + 1L]), 192L) == 128L) max <- max - 1L
    bytes <- bytes[seq_len(max)]
  }
  bytes
}

frame <- function(kind, ...) {
  field <- function(bytes) c(writeBin(length(bytes), raw(), endian = "little"), bytes)
  c(as.raw(kind), unlist(lapply(list(...), field)))
}

# R writes to no descriptor by its number, so a process does that is gone when this returns: nothing that the code
# starts can hold its end open. An interpreter that was forked has a routine for it. Sole place that knows of descriptor 4.
write_frame <- function(bytes) {
  if (!is.null(native)) {
    if (.C(native$tell, bytes, length(bytes), 1L)[[3L]]) stop("the channel is closed")
    return(TRUE)
  }
  channel <- pipe("exec 2>/dev/null; exec /bin/cat >&4", "wb")
  on.exit(close(channel))
  writeBin(bytes, channel)
  TRUE
}

tell <- function(kind, ...) {
  if (Sys.getpid() != first_pid) return(FALSE)
  bytes <- frame(kind, ...)
  !is.null(quietly(write_frame(bytes)))
}

# The end of the run, where the code may have left no process and no connection to tell it with. It is over, and what
# it has started ends with it.
insist <- function(bytes) {
  for (try in seq_len(channel_tries)) {
    if (!is.null(quietly(write_frame(bytes)))) return(TRUE)
    quietly(make_room())
    Sys.sleep(channel_pause_s)
  }
  FALSE
}

make_room <- function() {
  for (id in open_connections()) {
    connection <- getConnection(id)
    # The end of a pipe waits for its process.
    if (summary(connection)$class != "pipe") close(connection)
  }
  # Only as the first child of a jail's init: elsewhere the others are nobody's business.
  if (first_pid != 2L || Sys.getpid() != first_pid) return()
  others <- setdiff(grep("^[0-9]+$", list.files("/proc"), value = TRUE), c("1", "2"))
  tools::pskill(as.integer(others), tools::SIGKILL)
}

open_connections <- function() setdiff(getAllConnections(), 0:2)

# Prints a value as the top level does: with the methods that can be seen from there, and as a call `print(x)`.
show_value <- function(value) {
  seen <- new.env(parent = globalenv())
  seen$x <- value
  seen$print <- if (isS4(value)) methods::show else print
  runner$own_frames <- sys.nframe() + 1L
  .Internal(enableJIT(jit_level))
  on.exit(runner$jit_level <- .Internal(enableJIT(0L)))
  .Internal(eval(quote(print(x)), seen, NULL))
}

# What showing a value prints.
printed <- function(value) {
  sinks <- sink.number()
  runner$own_frames <- sys.nframe()
  channel <- quietly(rawConnection(raw(), "wb"))
  if (is.null(channel)) refuse("the value cannot be shown: all connections are in use")
  on.exit({
    while (sink.number() > sinks) sink()
    close(channel)
  })
  sink(channel)
  show_value(value)
  while (sink.number() > sinks) sink()
  bytes <- rawConnectionValue(channel)
  bytes <- bytes[bytes != 0L]
  if (length(bytes) && bytes[length(bytes)] == 10L) bytes <- bytes[-length(bytes)]
  rawToChar(bytes)
}

# What is drawn when it is printed. Without rich results nobody looks at it, so its name is enough.
drawings <- c("ggplot", "trellis", "recordedplot")

text_of <- function(value) {
  kind <- drawings[inherits(value, drawings, TRUE) > 0L]
  if (length(kind)) sprintf("<%s>", kind[1L]) else printed(value)
}

# After each expression of the code: its value is shown, or is the value of the run.
took <- function(outcome) {
  on.exit(runner$own_frames <- 0L)
  is_last <- at == length(exprs)
  if (!outcome$visible) {
    if (is_last) runner$verdict <- frame(2L)
  } else if (is_last) {
    text <- if (is_rich) later("told_richly")(outcome$value) else text_of(outcome$value)
    # What prints nothing has no text to be told.
    runner$verdict <- if (nzchar(text)) frame(1L, bytes_of(text)) else frame(2L)
  } else {
    show_value(outcome$value)
  }
  .Internal(printDeferredWarnings())
  if (is_rich && !is.null(runner$is_read)) show_pages()
}

# Called for every error that nobody has handled, at the place where it happened.
unhandled <- function(condition) {
  depth <- sys.nframe()
  signaller <- if (depth > 1L) sys.function(depth - 1L)
  if (identical(signaller, signalCondition)) {
    # A signal that nobody takes is no error, but for those who print their errors themselves.
    caller <- if (depth > 2L) environment(sys.function(depth - 2L))
    if (is.null(caller) || !identical(environmentName(topenv(caller)), "rlang")) return()
    depth <- depth - 2L
  } else if (identical(signaller, .handleSimpleError)) {
    depth <- depth - 1L
  }
  # Whoever wants to see errors first sees them; the end finds out what there was.
  if (is.null(runner$exprs) || is_leaving || !is.null(getOption("error"))) return()
  ours <- Find(function(which) identical(sys.function(which), refuse), seq_len(depth - 1L))
  first <- own_frames + 1L
  last <- min(depth, ours) - 1L
  runner$failure <- list(condition, if (first <= last) sys.calls()[first:last], own_frames == 0L)
  .Internal(eval(quote(break), runner, NULL))
}

read_code <- function() {
  channel <- file(code_path, "rb")
  on.exit(close(channel))
  bytes <- raw()
  while (length(more <- readBin(channel, "raw", piece_bytes))) bytes <- c(bytes, more)
  if (identical(bytes[1:3], as.raw(c(239L, 187L, 191L)))) bytes <- bytes[-(1:3)]
  nul <- match(as.raw(0L), bytes)
  if (!is.na(nul)) {
    stop(sprintf("%s:%d: nul character not allowed", code_name, sum(bytes[seq_len(nul)] == as.raw(10L)) + 1L), call. = FALSE)
  }
  text <- strsplit(rawToChar(bytes), "\r?\n", useBytes = TRUE)[[1L]]
  Encoding(text) <- "UTF-8"
  bad <- match(FALSE, validUTF8(text))
  if (!is.na(bad)) stop(sprintf("%s:%d: the line is no valid UTF-8", code_name, bad), call. = FALSE)
  text
}

# The code as expressions; NULL when it is no R, and the verdict says so.
parsed <- function() {
  tryCatch({
    lines <- read_code()
    parse(text = lines, keep.source = TRUE, srcfile = srcfilecopy(code_name, lines), encoding = "UTF-8")
  }, error = function(e) {
    message <- conditionMessage(e)
    runner$verdict <- frame(3L, bytes_of("SyntaxError"), bytes_of(message), bytes_of(paste("Error:", message)))
    NULL
  })
}

# What there is to tell of the code; whether it is no error.
judge <- function() {
  if (is.null(verdict) && is.null(failure)) runner$verdict <- frame(2L)
  if (is.null(failure)) return(TRUE)
  told <- quietly(later("exception")(failure[[1L]], failure[[2L]], failure[[3L]]))
  if (is.null(told)) told <- c(class(failure[[1L]])[1L], "<no message>", "")
  runner$verdict <- do.call(frame, c(3L, lapply(told, bytes_of)))
  if (Sys.getpid() != first_pid) cat(told[3L], "\n", sep = "", file = stderr())
  FALSE
}

# The code has come to its end, by itself or by an error: leave as a script does, and tell on the way out.
finish <- function() {
  .Internal(enableJIT(0L))
  runner$is_leaving <- TRUE
  status <- as.integer(!judge() || is.null(exprs))
  runner$own_status <- status
  # A process that the code has forked leaves its parent's folder for temporary files alone.
  if (Sys.getpid() != first_pid) quietly(getNamespace("parallel")$mcexit(status))
  .Internal(quit("no", status, is.null(failure) && !is.null(exprs)))
}

# Among the last things that R does: after `.Last`, after the finalizers of the code.
last_of_all <- function(environment) {
  .Internal(enableJIT(0L))
  if (Sys.getpid() != first_pid) return()
  quietly(grDevices::graphics.off())
  if (is_rich && !is.null(runner$is_read)) quietly(show_pages())
  quietly(while (sink.number()) sink())
  quietly(for (id in open_connections()) quietly(flush(getConnection(id))))
  # An error that the handler did not see has gone all the way down: of a full stack, or of a class of its own.
  if (is.null(verdict) && !is_leaving && !identical(geterrmessage(), told_before)) {
    runner$verdict <- do.call(frame, c(3L, lapply(later("lost_exception")(), bytes_of)))
  }
  if (!is.null(verdict)) insist(verdict)
  if (!is.null(native) && !is.null(own_status)) .C(native$leave, own_status)
}

# Takes the place of a function of R's own.
replace <- function(name, value) {
  base <- baseenv()
  unlockBinding(name, base)
  assign(name, value, envir = base)
  lockBinding(name, base)
}

before <- function(name, first) {
  changed <- get(name, baseenv())
  body(changed) <- call("{", first, body(changed))
  replace(name, changed)
}

# An error in the name of a function that we have replaced.
refuse <- function(text) stop(text, call. = FALSE)

no_input <- "there is no standard input: send `stdin` with the request"

# Standard input for everybody who asks for it, each where the one before has stopped: R itself would read ahead into
# a buffer of each own.
the_input <- NULL
input <- function() {
  if (is.null(the_input)) {
    opened <- real_file("stdin", "rt")
    class(opened) <- c("stdin", class(opened))
    runner$the_input <- opened
  }
  the_input
}

# What `scan` takes from a terminal: all up to an empty line.
paragraph <- function() {
  lines <- character()
  while (length(line <- readLines(input(), 1L, warn = FALSE)) && nzchar(line)) lines <- c(lines, line)
  lines
}

# What R calls when something is drawn and no device is open.
device_for <- function(...) if (is_rich) later("open_device")(...) else grDevices::pdf(NULL)

install_once <- function() {
  replace("commandArgs", function(trailingOnly = FALSE) {
    if (!trailingOnly) return(kept)
    place <- match("--args", kept, 0L)
    if (place) kept[-seq_len(place)] else character()
  })
  leave <- as.call(list(function() {
    runner$is_leaving <- Sys.getpid() == first_pid
    runner$own_status <- NULL
  }))
  before("quit", leave)
  before("q", leave)
  options(warn = 1L, device = device_for)
  globalCallingHandlers(error = unhandled)
}

# What stands where R looks for its input.
sources <- mget(c("file", "scan", "stdin", "readline"), baseenv())

install_input <- function() {
  for (name in names(sources)) replace(name, sources[[name]])
  if ("stdin" %in% words) {
    runner$real_file <- file
    before("file", bquote({
      is_plain <- open %in% c("", "r", "rt") && identical(encoding, getOption("encoding"))
      if (is_plain && identical(description, "stdin")) return(.(as.call(list(input))))
    }))
    before("scan", bquote({
      if (missing(file) && missing(text) && missing(n) && missing(nmax)) text <- .(as.call(list(paragraph)))
    }))
    replace("stdin", function() input())
    # It stays open for who comes next.
    registerS3method("close", "stdin", function(con, ...) invisible(), baseenv())
    registerS3method("open", "stdin", function(con, ...) invisible(), baseenv())
    replace("readline", function(prompt = "") {
      cat(prompt)
      line <- readLines(input(), 1L, warn = FALSE)
      if (!length(line)) refuse("the standard input is at its end")
      line
    })
  } else {
    replace("readline", function(prompt = "") refuse(no_input))
    before("scan", bquote(if (missing(text) && identical(file, "")) .(as.call(list(refuse, no_input)))))
  }
}

install_once()
install_input()
know()
if ("stdin" %in% words) install_input()
reg.finalizer(runner, last_of_all, onexit = TRUE)
.Internal(delayedAssign(".execgate", quote({
  rm(".execgate", envir = globalenv())
  exprs <- parsed()
  repeat {
    if (at == length(exprs)) break
    at <- at + 1L
    told_before <- geterrmessage()
    .Internal(delayedAssign("now", exprs[[at]], globalenv(), runner))
    .Internal(enableJIT(jit_level))
    outcome <- .Internal(withVisible(now))
    jit_level <- .Internal(enableJIT(0L))
    took(outcome)
  }
  finish()
}), runner, globalenv()))
invisible()
