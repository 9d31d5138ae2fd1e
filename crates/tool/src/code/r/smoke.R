cat("hello\n")
6 * 7
