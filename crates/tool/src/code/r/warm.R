# An interpreter that is forked for each run. Its arguments are the runner and what that needs in some runs only: both
# are parsed once, and the functions of the runner are there before the fork. The rest of it is evaluated in each fork,
# what needs to know of the run when that is there, in an environment that nobody is attached to. The third serves a
# session; a dash after it says that this one was started for a session alone.

# What the library was loaded by.
Sys.unsetenv("LD_PRELOAD")
jit_level <- .Internal(enableJIT(0L))
arguments <- .Internal(commandArgs())
place <- match("--args", arguments)
later <- parse(text = arguments[place + 3L], keep.source = FALSE)
session <- arguments[place + 4L]
is_alone <- length(arguments) > place + 4L
statements <- parse(text = arguments[place + 2L], keep.source = FALSE)
is_function <- vapply(statements, function(part) {
  is.call(part) && identical(part[[1L]], quote(`<-`)) && is.call(part[[3L]]) &&
    identical(part[[3L]][[1L]], quote(`function`))
}, NA)
# Compiled, because what is evaluated as it was parsed takes twice the time.
functions <- if (is_alone) statements[is_function] else lapply(statements[is_function], compiler::compile)
statements <- statements[!is_function]
# Those from here on need to know of the run.
known <- Position(function(part) identical(part, quote(know())), statements)
before <- statements[seq_len(known - 1L)]
after <- statements[known:length(statements)]
# In the place of the two scripts, which are in memory.
own <- c(arguments[seq_len(place)], "", "")

# R forgets the library, and so does not tell the code of it; it stays where it is.
dyn.load("/proc/self/fd/4")
routines <- lapply(c(serve = 1L, take = 2L, tell = 3L, leave = 4L, end = 5L), function(number) .Call("execgate_routine", number))
dyn.unload("/proc/self/fd/4")

make <- function() {
  made <- new.env(parent = .BaseNamespaceEnv)
  made$native <- routines
  made$parts <- later
  for (part in functions) eval(part, made)
  made
}

sample <- c(
  "x <- c(a = 1.5, b = 2); items <- list(1L, 'b', TRUE)",
  "f <- function(n) if (n < 2) n else f(n - 1) + f(n - 2)",
  "for (i in 1:3) items[[length(items) + 1L]] <- f(i)",
  "cat('hi\\n', sprintf('%d', 3L), paste0('a', 1:2), '\\n'); print(sum(x)); message('m')",
  "tryCatch(stop('e'), error = function(e) conditionMessage(e), finally = 1)",
  "table <- data.frame(a = 1:3, b = c('x', 'y', 'z')); table$c <- table$a * 2; table[table$a > 1, ]",
  "sapply(split(table$c, table$b), mean); strsplit(gsub('a', 'b', 'banana'), '')[[1L]]; summary(table$a)",
  "m <- matrix(1:4, 2); m %*% t(m); sort(c(3, 1)); do.call(rbind, list(1:2, 3:4)); Reduce(`+`, 1:3)",
  "6 * 7"
)

# What the runner replaces.
changed <- c("commandArgs", "quit", "q", "file", "scan", "stdin", "readline")

# Runs the sample as the runner would, into nothing, and leaves everything as it was.
try_out <- function() {
  trial <- make()
  kept <- mget(changed, baseenv())
  set <- options()
  for (part in before) eval(part, trial)
  trial$know()
  trial$code_path <- tempfile()
  writeLines(sample, trial$code_path)
  trial$exprs <- trial$parsed()
  unlink(trial$code_path)
  scope <- new.env(parent = globalenv())
  for (at in seq_along(trial$exprs)) {
    trial$at <- at
    trial$took(withVisible(eval(trial$exprs[[at]], scope)))
  }
  trial$quietly(trial$open_connections())
  trial$judge()
  # The end of a run, told to nobody.
  reg.finalizer(scope, function(environment) NULL)
  rm("x", envir = scope)
  write <- trial$write_frame
  trial$write_frame <- function(bytes) write(raw())
  trial$last_of_all(trial)
  for (name in changed) trial$replace(name, kept[[name]])
  options(set)
  globalCallingHandlers(NULL)
  .Internal(seterrmessage(""))
}

made <- make()
inherited <- -5L
if (!is_alone) {
  # What is read from disk when it is first used is read once, and here.
  for (time in 1:2) try_out()
  for (time in 1:3) gc()
  # A fork is to allocate in pages that are nobody else's, and not in gaps between what is there: each would be copied for
  # it. So the gaps are filled, those of each size that R has. So many pairs are free after a start; of the rest, fewer.
  gaps <- 2e5
  filled <- list(as.pairlist(vector("list", gaps)), lapply(c(1L, 2L, 4L, 8L, 16L), function(size) {
    lapply(seq_len(gaps / 20), function(at) double(size))
  }))
  for (time in 1:2) gc()
  inherited <- .C(routines$serve, 0L)[[1L]]
}
# From here on it is a guest's, whose run may be there already.
tempdir(check = TRUE)
# What a run writes to first is copied now, and not then.
if (inherited > 0L) for (time in 1:2) try_out()
.Internal(enableJIT(jit_level))
for (part in before) eval(part, made)
is_session <- .C(routines$take, own, length(own), c(abs(inherited), 0L, inherited > 0L))[[3L]][1L] < 0L
if (is_session) made$own <- own
for (part in after) eval(part, made)
if (is_session) eval(parse(text = session, keep.source = FALSE), made)
invisible()
