# The shell's version, and the tools beside it that scripts ask for most.
declare -A known=()
names=(awk bc bzip2 curl file find gawk git grep gzip jq less make patch perl sed sqlite3 tar tree unzip xz zip zstd)
for name in "${names[@]}"; do
    command -v "$name" >/dev/null && known[$name]=1
done
list=
for name in "${names[@]}"; do
    [[ ${known[$name]:-} ]] && list+="${list:+, }{\"name\": \"$name\", \"version\": null}"
done
printf '{"version": "%d.%d.%d", "packages": [%s]}\n' "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" "${BASH_VERSINFO[2]}" "$list"
