package lookup

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
)

// fixed is a table that is written out.
type fixed map[string]string

func (f fixed) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok := f[strings.ToLower(key)]
	return value, ok, nil
}

func (fixed) Whole() bool  { return false }
func (fixed) Close() error { return nil }

// openInline reads { key=value, { key = text with spaces } }.
func openInline(text string, _ Options) (Table, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), "{")
	if body, ok2 := strings.CutSuffix(body, "}"); ok && ok2 {
		return parseInline(body)
	}
	return nil, errors.New("want {key=value, {key = text with spaces}}")
}

// Inline is what a table holds that is written out in its name, inline:{a=b}; nil if
// name is another table's.
func Inline(name string) map[string]string {
	text, ok := strings.CutPrefix(name, "inline:")
	if !ok {
		return nil
	}
	t, _ := openInline(text, Options{})
	f, _ := t.(fixed)
	return f
}

func parseInline(body string) (Table, error) {
	out := fixed{}
	for {
		body = strings.TrimLeft(body, ", \t\r\n")
		if body == "" {
			return out, nil
		}
		var row string
		if body[0] == '{' {
			end := strings.IndexByte(body, '}')
			if end < 0 {
				return nil, fmt.Errorf("%.40q has no closing }", body)
			}
			row, body = body[1:end], body[end+1:]
		} else {
			end := strings.IndexAny(body, ", \t\r\n")
			if end < 0 {
				end = len(body)
			}
			row, body = body[:end], body[end:]
		}
		key, value, ok := strings.Cut(row, "=")
		if key = strings.ToLower(strings.TrimSpace(key)); !ok || key == "" {
			return nil, fmt.Errorf("%.40q is no key=value", row)
		}
		out[key] = strings.TrimSpace(value)
	}
}

// static has one value for every key.
type static string

func openStatic(value string, _ Options) (Table, error) {
	return static(strings.TrimSpace(strings.Trim(value, "{}"))), nil
}

func (s static) Lookup(context.Context, string) (string, bool, error) { return string(s), true, nil }
func (static) Whole() bool                                            { return true }
func (static) Close() error                                           { return nil }

// system is the users or groups of the system.
type system func(key string) (string, error)

func openUnix(name string, _ Options) (Table, error) {
	switch name {
	case "passwd.byname":
		return system(passwd), nil
	case "group.byname":
		return system(group), nil
	}
	return nil, fmt.Errorf("unix:%s: there are passwd.byname and group.byname", name)
}

// passwd is a user's line without password, as passwd(5) has it.
func passwd(name string) (string, error) {
	u, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.Join([]string{u.Username, "x", u.Uid, u.Gid, u.Name, u.HomeDir, ""}, ":"), nil
}

func group(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if errors.As(err, new(user.UnknownGroupError)) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.Join([]string{g.Name, "x", g.Gid, ""}, ":"), nil
}

func (s system) Lookup(_ context.Context, key string) (string, bool, error) {
	if strings.ContainsAny(key, "@:/\n") {
		return "", false, nil
	}
	value, err := s(key)
	return value, value != "", err
}

func (system) Whole() bool  { return false }
func (system) Close() error { return nil }
