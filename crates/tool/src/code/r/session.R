# A session: one code after the other, each by the runner's functions and at its place, straight above R's top level.
# Evaluated in the runner's environment, when that is there.

number <- 0L
# The device that was opened for a code that draws and has opened none, where nobody looks at it.
null_device <- 0L

session_device <- function(...) {
  if (is_rich) return(later("open_device")(...))
  grDevices::pdf(NULL)
  runner$null_device <- grDevices::dev.cur()
}

# Those that the code has opened itself stay.
end_devices <- function() {
  open <- grDevices::dev.list()
  if (null_device %in% open && names(open)[match(null_device, open)] == "pdf") grDevices::dev.off(null_device)
  runner$null_device <- 0L
  if (is.null(runner$is_read)) return()
  close_own_device()
  if (is_rich) show_pages()
  runner$shown <- 0L
}

# Waits for the next code. What it has of its own is put in its place.
begin_cell <- function() {
  state <- .C(native$take, own, length(own), integer(3L))[[3L]]
  if (state[2L]) {
    runner$first_pid <- Sys.getpid()
    # What other copies have too is drawn anew; R seeds by itself what has never been used.
    if (exists(".Random.seed", globalenv(), inherits = FALSE)) quietly(set.seed(state[3L]))
  }
  runner$number <- number + 1L
  runner$code_path <- sprintf("/proc/self/fd/%d", state[1L])
  runner$code_name <- sprintf("<code-%d>", number)
  know()
  if (!is.null(the_input)) quietly(close(structure(the_input, class = c("file", "connection"))))
  runner$the_input <- NULL
  install_input()
  runner$at <- runner$own_frames <- 0L
  runner$told_before <- geterrmessage()
  runner$exprs <- parsed()
}

# Tells its end. From then on what is written is nowhere.
end_cell <- function() {
  .Internal(enableJIT(0L))
  status <- as.integer(!judge())
  if (Sys.getpid() != first_pid) {
    # Forked by the code, and come as far as the end.
    quietly(getNamespace("parallel")$mcexit(status))
    .C(native$leave, status)
  }
  runner$exprs <- NULL
  quietly(end_devices())
  told <- verdict
  runner$failure <- runner$verdict <- NULL
  .C(native$end, 0L)
  quietly(write_frame(told))
}

options(device = session_device)
.Internal(delayedAssign(".execgate", quote({
  rm(".execgate", envir = globalenv())
  repeat {
    begin_cell()
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
    end_cell()
  }
}), runner, globalenv()))
invisible()
