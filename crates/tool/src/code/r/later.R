# The part of the runner that only some runs need. Evaluated in the runner's environment when it is first needed.

# Errors: the stack is cut in its middle, a call in its length.
stack_ends <- 20L
call_chars_max <- 200L
causes_max <- 20L
# R breaks the line before a message that would make it longer than this.
error_line_max <- 77L

# Pictures, in pixels and pixels an inch.
plot_width <- 800L
plot_height <- 600L
plot_ppi <- 96L
plots_max <- 16L
picture_bytes_max <- 2097152L

# Rich results.
display_bytes_max <- 3145728L
cells_max <- 100000L
html_rows_max <- 100L
html_columns_max <- 50L
json_items_max <- 10000L
json_depth_max <- 16L

# ---- errors

one_line <- function(call) {
  text <- valid(deparse(call, width.cutoff = 500L, nlines = 1L)[1L])
  if (nchar(text) > call_chars_max) paste0(substr(text, 1L, call_chars_max), "...") else text
}

message_of <- function(condition) {
  text <- quietly(paste(conditionMessage(condition), collapse = "\n"))
  if (is.null(text)) "<no message>" else valid(text)
}

headline <- function(condition, message, start = "Error") {
  call <- quietly(conditionCall(condition))
  if (is.null(call)) return(paste0(start, ": ", message))
  said <- one_line(call)
  first <- strsplit(message, "\n", fixed = TRUE)[[1L]][1L]
  is_long <- nchar(said) + nchar(paste0(first)) + nchar(start) + 7L > error_line_max
  paste0(start, " in ", said, " : ", if (is_long) "\n  ", message)
}

# Where a call stands in the code, as `traceback` has it.
place_of <- function(reference) {
  if (is.null(reference)) return("")
  source <- attr(reference, "srcfile")
  if (is.null(source)) return("")
  sprintf(" at %s#%d", basename(source$filename), reference[1L])
}

# The last call first, as `traceback` has it. `is_codes`: the first call stands in the code's own lines.
stack_of <- function(calls, is_codes = TRUE) {
  reference <- attr(exprs, "srcref")[at][[1L]]
  calls <- as.list(calls)
  if (!length(calls)) return(sub("^ ", "", place_of(reference)))
  places <- vapply(calls, function(call) place_of(attr(call, "srcref")), "")
  if (places[1L] == "" && is_codes) places[1L] <- place_of(reference)
  rows <- seq_along(calls)
  is_cut <- length(rows) > 2L * stack_ends
  if (is_cut) rows <- c(head_of(rows, stack_ends), tail_of(rows, stack_ends))
  lines <- sprintf("%d: %s%s", rows, vapply(calls[rows], one_line, ""), places[rows])
  if (is_cut) lines <- append(lines, sprintf("... %d more", length(calls) - length(rows)), stack_ends)
  rev(lines)
}

head_of <- function(items, count) items[seq_len(max(0L, min(count, length(items))))]
tail_of <- function(items, count) items[seq.int(to = length(items), length.out = min(count, length(items)))]

# The errors that led to this one, where its message does not tell them already.
causes_of <- function(condition, message) {
  lines <- character()
  for (step in seq_len(causes_max)) {
    condition <- quietly(condition$parent)
    if (!inherits(condition, "condition")) break
    cause <- message_of(condition)
    if (!grepl(cause, message, fixed = TRUE)) lines <- c(lines, headline(condition, cause, "Caused by error"))
  }
  lines
}

# Name, message and traceback of an error.
exception <- function(condition, calls, is_codes) {
  name <- class(condition)[1L]
  if (name %in% c("simpleError", "error")) name <- "Error"
  message <- message_of(condition)
  lines <- c(headline(condition, message), causes_of(condition, message), stack_of(calls, is_codes))
  c(name, message, paste(lines[nzchar(lines)], collapse = "\n"))
}

# The same of an error of which only R's own text is left.
lost_exception <- function() {
  text <- sub("\n$", "", valid(geterrmessage()))
  message <- sub("^Error( in .*? : (\n  )?|: )", "", text, perl = TRUE)
  name <- if (startsWith(message, "C stack usage")) "CStackOverflowError" else "Error"
  c(name, message, paste(c(text, stack_of(NULL)), collapse = "\n"))
}

# ---- pictures

opened <- 0L
own_device <- 0L
shown <- 0L

pages_of <- function(number) file.path(tempdir(), sprintf("plot-%d-%03d-%s.png", first_pid, number, "%03d"))

# What R calls when something is drawn and no device is open.
open_device <- function(...) {
  if (Sys.getpid() != first_pid || shown >= plots_max || !isTRUE(capabilities("cairo"))) {
    return(grDevices::pdf(NULL))
  }
  runner$opened <- opened + 1L
  grDevices::png(pages_of(opened), plot_width, plot_height, res = plot_ppi, type = "cairo")
  runner$own_device <- grDevices::dev.cur()
  if (is.null(runner$is_hooked)) {
    runner$is_hooked <- TRUE
    setHook("before.plot.new", function() show_pages())
    setHook("before.grid.newpage", function() show_pages())
  }
}

close_own_device <- function() {
  if (own_device && own_device %in% grDevices::dev.list()) {
    if (names(grDevices::dev.list())[match(own_device, grDevices::dev.list())] == "png") grDevices::dev.off(own_device)
  }
  runner$own_device <- 0L
}

# The pages that are finished, as bytes; each is given once.
take_pages <- function() {
  if (!opened || Sys.getpid() != first_pid) return(list())
  pattern <- sprintf("^plot-%d-[0-9]+-[0-9]+[.]png$", first_pid)
  paths <- sort(list.files(tempdir(), pattern, full.names = TRUE), method = "radix")
  # A page that is still drawn on is an empty file.
  paths <- paths[file.size(paths) > 0L]
  pages <- lapply(paths, function(path) readBin(path, "raw", min(file.size(path), picture_bytes_max + 1L)))
  unlink(paths)
  pages
}

show_pages <- function() {
  for (page in take_pages()) show_page(page)
}

show_page <- function(page) {
  if (shown >= plots_max) return()
  runner$shown <- shown + 1L
  display(list(text = json_text("<plot>"), png = picture(page)), FALSE)
}

picture <- function(bytes) {
  if (length(bytes) && length(bytes) <= picture_bytes_max) paste0('"', base64(bytes), '"')
}

letters_of_base64 <- charToRaw("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

base64 <- function(bytes) {
  missing <- (3L - length(bytes) %% 3L) %% 3L
  three <- matrix(as.integer(c(bytes, raw(missing))), 3L)
  four <- rbind(
    three[1L, ] %/% 4L,
    three[1L, ] %% 4L * 16L + three[2L, ] %/% 16L,
    three[2L, ] %% 16L * 4L + three[3L, ] %/% 64L,
    three[3L, ] %% 64L
  )
  text <- letters_of_base64[four + 1L]
  if (missing) text[length(text) + 1L - seq_len(missing)] <- charToRaw("=")
  rawToChar(text)
}

# ---- rich results

# Shows the value of the run and gives its text.
told_richly <- function(value) {
  close_own_device()
  show_pages()
  # An error leaves a page that is empty or half drawn.
  on.exit({
    close_own_device()
    take_pages()
  })
  text <- printed(value)
  close_own_device()
  pages <- take_pages()
  page <- if (length(pages) && shown < plots_max) pages[[length(pages)]]
  for (other in head_of(pages, length(pages) - 1L)) show_page(other)
  if (!nzchar(text) && length(pages)) text <- sprintf("<%s>", class(value)[length(class(value))])
  if (length(page)) runner$shown <- shown + 1L
  entries <- list(text = json_text(rawToChar(bytes_of(text))), png = if (length(page)) picture(page))
  if (is.data.frame(value)) {
    if (prod(dim(value)) <= cells_max) entries$data <- quietly(json_columns(value))
    entries$html <- quietly(json_text(html_table(value)))
  } else if (is_plain(value)) {
    entries$json <- quietly(json(value))
  }
  if (nzchar(text)) display(entries, TRUE)
  text
}

# Tells one result: `entries` are JSON texts.
display <- function(entries, is_main) {
  entries <- entries[lengths(entries) > 0L]
  repeat {
    sizes <- vapply(entries, nchar, 0L, "bytes")
    if (sum(sizes) + 512L <= display_bytes_max) break
    sizes[names(sizes) == "text"] <- 0L
    entries <- entries[-which.max(sizes)]
  }
  fields <- paste0('"', names(entries), '":', unlist(entries), collapse = ",")
  object <- sprintf('"is_main_result":%s}', if (is_main) "true" else "false")
  tell(4L, charToRaw(paste0("{", fields, ",", object)))
}

is_plain <- function(value) {
  is_list <- is.list(value) && !is.object(value)
  is_vector <- is.atomic(value) && !is.object(value) && is.null(dim(value)) && !is.null(value)
  (is_list || is_vector) && length(rapply(list(value), function(leaf) NULL, how = "unlist")) <= json_items_max &&
    length(value) <= json_items_max
}

json_text <- function(text) {
  is_missing <- is.na(text)
  text <- valid(text)
  text <- gsub("\\", "\\\\", text, fixed = TRUE)
  text <- gsub("\"", "\\\"", text, fixed = TRUE)
  if (any(grepl("[[:cntrl:]]", text))) {
    for (code in 1:31) text <- gsub(intToUtf8(code), sprintf("\\u%04x", code), text, fixed = TRUE)
  }
  text <- paste0("\"", text, "\"")
  text[is_missing] <- "null"
  text
}

json_numbers <- function(numbers) {
  text <- sprintf("%.15g", numbers)
  is_short <- is.finite(numbers) & as.numeric(text) != numbers
  text[is_short] <- sprintf("%.17g", numbers[is_short])
  text[!is.finite(numbers)] <- "null"
  text
}

# Each item of a vector as JSON.
json_items <- function(items, depth) {
  if (!length(items)) return(character())
  if (is.factor(items)) return(json_text(as.character(items)))
  if (inherits(items, "POSIXt")) return(json_text(format(items, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")))
  if (inherits(items, "Date")) return(json_text(format(items, "%Y-%m-%d")))
  if (inherits(items, "difftime")) return(json_numbers(as.numeric(items)))
  if (is.list(items) && !is.object(items)) return(vapply(items, json, "", depth + 1L, USE.NAMES = FALSE))
  if (is.object(items) || is.complex(items) || is.raw(items)) return(json_text(as.character(items)))
  if (is.logical(items)) return(c("false", "true", "null")[ifelse(is.na(items), 3L, items + 1L)])
  if (is.integer(items)) return(ifelse(is.na(items), "null", as.character(items)))
  if (is.numeric(items)) return(json_numbers(items))
  if (is.character(items)) return(json_text(items))
  json_text(vapply(list(items), one_line, ""))
}

json_object <- function(names, items) {
  paste0("{", paste0(json_text(names), ":", items, collapse = ","), "}")
}

json_array <- function(items) paste0("[", paste(items, collapse = ","), "]")

json <- function(value, depth = 0L) {
  if (is.null(value)) return("null")
  if (depth > json_depth_max) return(json_text("..."))
  if (is.data.frame(value)) return(json_columns(value, depth))
  items <- json_items(value, depth)
  names <- names(value)
  if (!is.null(names)) {
    is_unnamed <- is.na(names) | names == ""
    names[is_unnamed] <- as.character(seq_along(names))[is_unnamed]
    return(if (length(items)) json_object(names, items) else "{}")
  }
  if (length(items) == 1L && !is.list(value)) items else json_array(items)
}

json_columns <- function(table, depth = 0L) {
  columns <- vapply(as.list(table), function(column) json_array(json_items(column, depth)), "")
  if (length(columns)) json_object(names(columns), columns) else "{}"
}

html_text <- function(text) {
  text <- gsub("&", "&amp;", valid(text), fixed = TRUE)
  text <- gsub("<", "&lt;", text, fixed = TRUE)
  gsub(">", "&gt;", text, fixed = TRUE)
}

html_table <- function(table) {
  size <- dim(table)
  table <- as.data.frame(table)[seq_len(min(size[1L], html_rows_max)), seq_len(min(size[2L], html_columns_max)), drop = FALSE]
  cells <- lapply(table, function(column) html_text(if (is.list(column)) vapply(column, one_line, "") else trimws(format(column))))
  wrap <- function(tag, texts) paste0("<", tag, ">", texts, "</", tag, ">")
  rows <- do.call(paste0, c(list(wrap("th", html_text(row.names(table)))), lapply(cells, function(cell) wrap("td", cell))))
  head <- paste0(wrap("th", c("", html_text(names(table)))), collapse = "")
  body <- paste0(wrap("tr", rows)[seq_len(nrow(table))], collapse = "\n")
  note <- if (any(dim(table) < size)) sprintf("\n<p>%d rows, %d columns</p>", size[1L], size[2L])
  paste0("<table>\n<thead><tr>", head, "</tr></thead>\n<tbody>\n", body, "\n</tbody>\n</table>", note)
}
