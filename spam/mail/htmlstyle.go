package mail

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// maxStyles bounds how deep elements with a style may be nested.
const maxStyles = 10000

// accepted are the attributes that change how text looks.
var accepted = map[string]map[string]bool{
	"basefont": set("color face size"), "body": set("text bgcolor link alink vlink background"), "font": set("color face size"),
	"marquee": set("bgcolor background"), "table": set("bgcolor style"), "td": set("bgcolor style"), "tr": set("bgcolor style"),
	"span": set("style"), "p": set("style"), "div": set("style"), "a": set("style"),
}

func (h *HTML) top() *style { return &h.style[len(h.style)-1] }

// restyle opens or closes an element that changes how text looks.
func (h *HTML) restyle(name string, attrs map[string]string, start bool) {
	if name == "th" {
		name = "td"
	}
	if !start {
		if name != "body" {
			h.close(name)
		}
		return
	}
	if m := sizeForm.FindStringSubmatch(attrs["size"]); name == "basefont" && m != nil && m[1] == "" {
		h.font = sizeOf(m[2])
		return
	}
	if name == "td" || name == "tr" {
		h.closeCell(name)
	}
	s := *h.top()
	s.tag = name
	switch name {
	case "big":
		s.size++
	case "small":
		s.size--
	default:
		h.attributes(&s, name, attrs)
	}
	if len(h.style) < maxStyles {
		h.style = append(h.style, s)
	} else {
		h.cuts.Add(fmt.Sprintf("tags: %d open ones of a document", maxStyles))
	}
}

var sizeForm = regexp.MustCompile(`^\s*([+-]?)(\d+)`)

func sizeOf(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n > 1<<20 {
		return 1 << 20
	}
	return n
}

func (h *HTML) attributes(s *style, name string, attrs map[string]string) {
	seen := false
	for _, key := range []string{"alink", "background", "bgcolor", "color", "face", "link", "size", "style", "text", "vlink"} {
		value, ok := attrs[key]
		if !ok || !accepted[name][key] {
			continue
		}
		seen = true
		switch key {
		case "text", "color":
			s.fg = rgb(value)
		case "size":
			h.fontSize(s, value)
		case "style":
			h.css(s, value)
		}
		// bgcolor changes nothing: SpamAssassin reads it and forgets it.
	}
	if !seen {
		return
	}
	if s.size > h.MaxSize {
		h.MaxSize = s.size
	} else if s.size < h.MinSize {
		h.MinSize = s.size
	}
}

func (h *HTML) fontSize(s *style, value string) {
	m := sizeForm.FindStringSubmatch(value)
	if m == nil {
		return
	}
	n := sizeOf(m[2])
	switch m[1] {
	case "+":
		s.size = h.font + n
	case "-":
		s.size = h.font - n
	default:
		s.size = n
	}
}

var (
	cssColor      = regexp.MustCompile(`(?i)^\s*(background-)?color:\s*(.+?)\s*$`)
	cssBackground = regexp.MustCompile(`^\s*background:\s*(.+?)\s*$`)
	cssOther      = regexp.MustCompile(`(?i)^\s*([a-z_-]+)\s*:\s*(\S.*?)\s*$`)
	cssImportant  = regexp.MustCompile(`\s*!\s*important$`)
)

// css reads a style attribute.
func (h *HTML) css(s *style, text string) {
	for part := range strings.SplitSeq(text, ";") {
		if lower := strings.ToLower(part); !strings.Contains(lower, "color:") && !strings.Contains(part, "background:") && !strings.Contains(part, "display") && !strings.Contains(part, "visibility") {
			continue // what most of them are
		}
		if m := cssColor.FindStringSubmatch(part); m != nil {
			to := &s.fg
			if m[1] != "" {
				to = &s.bg
			}
			*to = cssValue(cssImportant.ReplaceAllString(strings.ToLower(m[2]), ""), *to)
			continue
		}
		if m := cssBackground.FindStringSubmatch(part); m != nil {
			for _, value := range lastLayer(strings.ToLower(m[1])) {
				if c := rgb(value); c != "invalid" {
					s.bg = c
					break
				}
			}
			continue
		}
		if m := cssOther.FindStringSubmatch(part); m != nil {
			switch m[1] {
			case "display":
				s.display = m[2]
			case "visibility":
				s.visibility = m[2]
			}
		}
	}
	if s.bg == "transparent" {
		s.bg = h.top().bg
	}
	if s.fg == "transparent" {
		s.fg = s.bg
	}
}

func cssValue(v, now string) string {
	switch {
	case strings.Contains(v, "rgb"):
		return cssRGB(v)
	case v == "inherit":
		return now
	case v == "transparent":
		return v
	}
	return rgb(v)
}

// cssRGB reads "rgb(1, 2, 3)": only digits and commas count.
func cssRGB(v string) string {
	v = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == ',' {
			return r
		}
		return -1
	}, v)
	var n [3]int
	for i, f := range strings.SplitN(v, ",", 4) {
		if i < 3 {
			n[i] = min(sizeOf("0"+f), 255)
		}
	}
	return fmt.Sprintf("#%02x%02x%02x", n[0], n[1], n[2])
}

// lastLayer gives the values of the undermost layer of a background.
func lastLayer(v string) []string {
	var layers [][]string
	var tokens []string
	var stack []byte
	var token strings.Builder
	end := func() {
		if token.Len() > 0 {
			tokens = append(tokens, token.String())
		}
		token.Reset()
	}
	state := byte(0) // 0, or what ends this: ) " '
	for i := range len(v) {
		c := v[i]
		switch {
		case state == 0 && c == ' ':
			end()
			continue
		case state == 0 && c == ',':
			end()
			layers, tokens = append(layers, tokens), nil
			continue
		}
		token.WriteByte(c)
		switch {
		case state != 0 && c == state:
			if state == ')' {
				end()
			}
			state, stack = stack[len(stack)-1], stack[:len(stack)-1]
		case state == 0 && c == '(':
			state, stack = ')', append(stack, state)
		case (state == 0 || state == ')') && (c == '"' || c == '\''):
			stack = append(stack, state)
			state = c
		}
	}
	end()
	if len(tokens) > 0 {
		layers = append(layers, tokens)
	}
	if len(layers) == 0 {
		return nil
	}
	return layers[len(layers)-1]
}

var (
	colorForm  = regexp.MustCompile(`^[#a-f0-9]*$|rgb\([\d%, ]*\)`)
	rgbPercent = regexp.MustCompile(`rgb\((\d+)%,\s*(\d+)%,\s*(\d+)%\s*\)`)
	rgbNumbers = regexp.MustCompile(`rgb\((\d+),\s*(\d+),\s*(\d+)\s*\)`)
)

var colorTable = sync.OnceValue(func() map[string]string {
	f := strings.Fields(colors)
	out := make(map[string]string, len(f)/2)
	for i := 0; i+1 < len(f); i += 2 {
		out[f[i]] = "#" + f[i+1]
	}
	return out
})

// rgb reads a colour: "#rrggbb", or "invalid".
func rgb(v string) string {
	v = strings.Trim(strings.ToLower(v), spaces)
	if hex, ok := colorTable()[v]; ok {
		return hex
	}
	if !colorForm.MatchString(v) {
		return "invalid"
	}
	if m := rgbPercent.FindStringSubmatch(v); m != nil {
		v = "#"
		for _, f := range m[1:] {
			v += fmt.Sprintf("%02x", int(float64(sizeOf(f))/100*255))
		}
	}
	if m := rgbNumbers.FindStringSubmatch(v); m != nil {
		v = "#"
		for _, f := range m[1:] {
			v += fmt.Sprintf("%02x", sizeOf(f))
		}
	}
	if !strings.HasPrefix(v, "#") {
		return "invalid"
	}
	return "#" + sixDigits(v)
}

func sixDigits(v string) string {
	v = strings.Map(func(r rune) rune {
		if r < 0x80 && hex(byte(r)) >= 0 {
			return r
		}
		return -1
	}, v)
	switch n := len(v); {
	case n > 6:
		v = v[:6]
	case n > 3 && n < 6:
		v = v[:3]
	}
	if r := len(v) % 3; r > 0 {
		v += strings.Repeat("0", 3-r)
	}
	if len(v) == 3 {
		v = string([]byte{v[0], v[0], v[1], v[1], v[2], v[2]})
	}
	return v
}

func (h *HTML) opened(name string) bool {
	for _, s := range h.style {
		if s.tag == name {
			return true
		}
	}
	return false
}

// closeCell closes the cells and fonts that a new cell or row ends.
func (h *HTML) closeCell(name string) {
	if !h.opened(name) {
		return
	}
	for len(h.style) > 1 {
		switch top := h.top().tag; {
		case top == "font" || top == "td" || name == "tr" && top == "tr":
			h.style = h.style[:len(h.style)-1]
		default:
			return
		}
	}
}

// close closes an element and all in it.
func (h *HTML) close(name string) {
	if name == "default" || !h.opened(name) {
		return
	}
	for len(h.style) > 1 {
		top := h.top().tag
		h.style = h.style[:len(h.style)-1]
		if top == name {
			return
		}
	}
}

// invisible reports whether text would not be seen here.
func (h *HTML) invisible() bool {
	s := h.top()
	if tail(s.fg) == tail(s.bg) || nearlySame(s.fg, s.bg) {
		h.LowContrast = true
		return true
	}
	if s.fg == "invalid" || s.bg == "invalid" {
		h.InvalidColor = true
		return true
	}
	return s.size <= 1 || strings.EqualFold(s.display, "none") || strings.EqualFold(s.visibility, "hidden")
}

func tail(s string) string { return s[max(0, len(s)-6):] }

// nearlySame: the distance of two colours, weighted by how bright they are, is below 12.
func nearlySame(a, b string) bool {
	r1, g1, b1, ok1 := components(a)
	r2, g2, b2, ok2 := components(b)
	if !ok1 || !ok2 {
		return false
	}
	r, g, bl := 0.2126*(r1-r2), 0.7152*(g1-g2), 0.0722*(b1-b2)
	return math.Sqrt(r*r+g*g+bl*bl) < 12
}

func components(s string) (r, g, b float64, ok bool) {
	s = strings.TrimPrefix(s, "#")
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil || len(s) != 6 {
		return 0, 0, 0, false
	}
	return float64(n >> 16), float64(n >> 8 & 255), float64(n & 255), true
}
