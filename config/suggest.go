package config

import "strings"

// maxSuggestLen bounds the words that are compared: longer ones are not typing
// mistakes of an option's name.
const maxSuggestLen = 64

// suggest returns the known word that was most likely meant by word, or "".
func suggest(word string, known []string) string {
	limit := 0 // mistakes: none in words of two letters, else one in three
	if len(word) > 2 {
		limit = max(1, len(word)/3)
	}
	best, bestDist := "", limit+1
	for _, k := range known {
		if d := distance(fold(word), fold(k)); d < bestDist {
			best, bestDist = k, d
		}
	}
	if best == "" && limit > 0 {
		best = completion(word, known)
	}
	return best
}

// completion is the only known word that begins with word, or "".
func completion(word string, known []string) string {
	found := ""
	for _, k := range known {
		if strings.HasPrefix(fold(k), fold(word)) {
			if found != "" {
				return ""
			}
			found = k
		}
	}
	return found
}

// fold makes spellings equal that differ only in case and separators.
func fold(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "-", "_"))
}

// distance is the optimal string alignment distance: Levenshtein's, with a
// swap of two neighbours counted as one mistake.
func distance(a, b string) int {
	if len(a) > maxSuggestLen || len(b) > maxSuggestLen {
		return maxSuggestLen
	}
	var rows [3][maxSuggestLen + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
