package message

import (
	"slices"
	"strconv"
	"strings"
)

// Param is a parameter of a structured field such as Content-Type.
type Param struct {
	Name  string // lower case
	Value string // unquoted; RFC 2231 pieces joined, percent-decoded, in UTF-8
}

func findParam(ps []Param, name string) string {
	for _, p := range ps {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// ParseParams reads `value; name=value; ...` (RFC 2045, 5.1) with comments,
// quoted strings and RFC 2231 continuations. It takes what it can read and
// skips the rest.
func ParseParams(s string) (value string, params []Param) {
	sc := scanner{s: s}
	sc.skipCFWS()
	value = strings.TrimRight(sc.until(";("), " \t")
	var raw []Param
	for len(raw) < 200 {
		sc.skipTo(';')
		if !sc.take(';') {
			break
		}
		sc.skipCFWS()
		name := strings.ToLower(strings.TrimRight(sc.until("=;"), " \t"))
		if !sc.take('=') || !isToken(name) {
			continue
		}
		sc.skipCFWS()
		raw = append(raw, Param{name, sc.value()})
	}
	return value, join2231(raw)
}

// value reads a quoted string or everything up to the next parameter; a bare
// value may hold characters that the grammar would want quoted.
func (sc *scanner) value() string {
	if sc.peek() == '"' {
		return sc.quoted()
	}
	return strings.TrimRight(sc.until(";("), " \t")
}

func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return true
}

// piece is one `name*N*=` section of a parameter (RFC 2231, 3 and 4).
type piece struct {
	n       int
	encoded bool
	value   string
}

// join2231 puts continued and encoded parameters together. The first plain
// parameter of a name wins over later ones; an RFC 2231 form wins over a plain.
func join2231(raw []Param) []Param {
	var out []Param
	pieces := map[string][]piece{}
	for _, p := range raw {
		base, rest, star := strings.Cut(p.Name, "*")
		if !star {
			if !hasParam(out, p.Name) {
				out = append(out, p)
			}
			continue
		}
		pc := piece{encoded: rest == "" || strings.HasSuffix(rest, "*"), value: p.Value}
		if num := strings.TrimSuffix(rest, "*"); num != "" {
			n, err := strconv.Atoi(num)
			if err != nil || n < 0 || n > 999 {
				continue
			}
			pc.n = n
		}
		if !hasParam(out, base) {
			out = append(out, Param{Name: base})
		}
		pieces[base] = append(pieces[base], pc)
	}
	for i, p := range out {
		if ps := pieces[p.Name]; ps != nil {
			out[i].Value = joinPieces(ps)
		}
	}
	return out
}

func hasParam(ps []Param, name string) bool {
	return slices.ContainsFunc(ps, func(p Param) bool { return p.Name == name })
}

func joinPieces(ps []piece) string {
	slices.SortStableFunc(ps, func(a, b piece) int { return a.n - b.n })
	charset := ""
	var b strings.Builder
	for i, p := range ps {
		v := p.value
		if p.encoded {
			if i == 0 {
				if parts := strings.SplitN(v, "'", 3); len(parts) == 3 {
					charset, v = parts[0], parts[2]
				}
			}
			v = percentDecode(v)
		}
		b.WriteString(v)
	}
	return ToUTF8(charset, b.String())
}

func percentDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, ok := hexPair(s[i+1], s[i+2]); ok {
				out = append(out, v)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func hexPair(a, b byte) (byte, bool) {
	x, y := hexDigit(a), hexDigit(b)
	return byte(x<<4 | y), x >= 0 && y >= 0
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
