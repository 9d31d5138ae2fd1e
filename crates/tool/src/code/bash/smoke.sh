echo hello | tr h j
