package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// conditionFunctions are the functions of conditions and how each is written.
var conditionFunctions = map[string]string{
	"contains":   "contains(list, value) or contains(string, part)",
	"startswith": "startswith(string, prefix)",
	"endswith":   "endswith(string, suffix)",
	"matches":    `matches(string, "regular expression")`,
	"lower":      "lower(string)",
	"len":        "len(string) or len(list)",
	"cidr":       `cidr(ip, "192.0.2.0/24", ...)`,
}

func (c *compiler[T]) call(e *hclsyntax.FunctionCallExpr) code[T] {
	usage, ok := conditionFunctions[e.Name]
	if !ok {
		out := c.errorf(e.NameRange, "unknown function %q", e.Name)
		names := make([]string, 0, len(conditionFunctions))
		for name := range conditionFunctions {
			names = append(names, name)
		}
		slices.Sort(names)
		c.hint("%s", didYouMean(e.Name, names))
		return out
	}
	args := make([]code[T], 0, len(e.Args))
	for _, a := range e.Args {
		args = append(args, c.compile(a))
	}
	want := 2
	if e.Name == "lower" || e.Name == "len" {
		want = 1
	}
	if len(args) < want || len(args) > want && e.Name != "cidr" || e.ExpandFinal {
		return c.errorf(e.Range(), "%s is written %s", e.Name, usage)
	}
	for _, a := range args {
		if a.typ == 0 {
			return code[T]{}
		}
	}
	return c.apply(e.Name, args)
}

// apply compiles a call whose number of arguments is right.
func (c *compiler[T]) apply(name string, args []code[T]) code[T] {
	switch name {
	case "contains":
		return c.contains(args[0], args[1])
	case "startswith":
		return c.compare(args[0], args[1], strings.HasPrefix)
	case "endswith":
		return c.compare(args[0], args[1], strings.HasSuffix)
	case "matches":
		return c.matches(args[0], args[1])
	case "lower":
		return c.lower(args[0])
	case "len":
		return c.length(args[0])
	}
	return c.cidr(args)
}

// compare is a function of two strings.
func (c *compiler[T]) compare(a, b code[T], f func(s, t string) bool) code[T] {
	left, right := c.want(a, ValueString), c.want(b, ValueString)
	if !left || !right {
		return code[T]{}
	}
	x, y := a.s, b.s
	return code[T]{typ: ValueBool, fixed: a.fixed && b.fixed, b: func(t T) bool { return f(x(t), y(t)) }}
}

func (c *compiler[T]) contains(list, item code[T]) code[T] {
	if list.typ == ValueString {
		return c.compare(list, item, strings.Contains)
	}
	if !c.want(list, ValueList) {
		return code[T]{}
	}
	out := code[T]{typ: ValueBool, fixed: list.fixed && item.fixed}
	if nums := list.nums; nums != nil {
		x := item.n
		out.b = func(t T) bool { return slices.Contains(nums, x(t)) }
		return c.only(c.want(item, ValueNumber), out)
	}
	l, s := list.l, item.s
	out.b = func(t T) bool { return slices.Contains(l(t), s(t)) }
	return c.only(c.want(item, ValueString), out)
}

// only is k if ok, else a refused code.
func (c *compiler[T]) only(ok bool, k code[T]) code[T] {
	if !ok {
		return code[T]{}
	}
	return k
}

// matches is an unanchored search for an RE2 expression, compiled here.
func (c *compiler[T]) matches(s, pattern code[T]) code[T] {
	left, right := c.want(s, ValueString), c.want(pattern, ValueString)
	if !left || !right {
		return code[T]{}
	}
	if !pattern.fixed {
		return c.errorf(pattern.at, "a regular expression must be a string in quotes")
	}
	_, text := pattern.constant()
	re, err := regexp.Compile(text)
	if err != nil {
		return c.errorf(pattern.at, "%v", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	f := s.s
	return code[T]{typ: ValueBool, fixed: s.fixed, b: func(t T) bool { return re.MatchString(f(t)) }}
}

func (c *compiler[T]) lower(s code[T]) code[T] {
	if !c.want(s, ValueString) {
		return code[T]{}
	}
	f := s.s
	return code[T]{typ: ValueString, fixed: s.fixed, s: func(t T) string { return strings.ToLower(f(t)) }}
}

// length counts the characters of a string or the elements of a list.
func (c *compiler[T]) length(v code[T]) code[T] {
	out := code[T]{typ: ValueNumber, fixed: v.fixed}
	switch {
	case v.typ == ValueList && v.nums != nil:
		return fixedNumber[T](float64(len(v.nums)))
	case v.typ == ValueList:
		out.n = func(t T) float64 { return float64(len(v.l(t))) }
		return out
	}
	f := v.s
	out.n = func(t T) float64 { return float64(utf8.RuneCountInString(f(t))) }
	return c.only(c.want(v, ValueString), out)
}

// cidr reports whether an address lies in one of the networks. What is no
// address lies in none.
func (c *compiler[T]) cidr(args []code[T]) code[T] {
	if !c.want(args[0], ValueString) {
		return code[T]{}
	}
	var nets []netip.Prefix
	for _, a := range args[1:] {
		_, text := a.constant()
		p, ok := parseNetwork(text)
		if !ok {
			return c.errorf(a.at, `not a network in quotes such as "192.0.2.0/24" or "2001:db8::/32"`)
		}
		nets = append(nets, p)
	}
	ip := args[0].s
	return code[T]{typ: ValueBool, fixed: args[0].fixed, b: func(t T) bool { return inNetworks(nets, ip(t)) }}
}

// parseNetwork reads a prefix, or an address as the network of itself.
func parseNetwork(s string) (netip.Prefix, bool) {
	s = strings.NewReplacer("[", "", "]", "").Replace(s)
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), true
}

func inNetworks(nets []netip.Prefix, ip string) bool {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, p := range nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
