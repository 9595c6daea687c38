# Prints FILE, a tab and SECTION of each enabled section of repository files whose address matches the regular expression `ended`.
function tell() { if (section != "" && matched && enabled) printf "%s\t%s\n", file, section }
FNR == 1 { tell(); section = ""; file = FILENAME }
/^[ \t]*\[/ { tell(); section = $0; gsub(/^[ \t]*\[|\].*$/, "", section); matched = 0; enabled = 1 }
/^[ \t]*(baseurl|mirrorlist|metalink)[ \t]*=/ && $0 ~ ended { matched = 1 }
/^[ \t]*enabled[ \t]*=[ \t]*(0|[Ff]alse|[Nn]o)/ { enabled = 0 }
END { tell() }
