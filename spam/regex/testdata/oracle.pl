# Answers what Perl makes of patterns. Input, one a line, texts in hexadecimal:
#   R modifiers pattern    as SpamAssassin compiles it: qr/(?modifiers)pattern/aa
#   D modifiers pattern    without the aa
#   S subject              matched with the pattern before
# Output: "K", "W" (compiled, but with a warning) or "E" and why; for a subject
# "0", or "1" and the offsets of all groups.
use strict;
use warnings;
my $re;
alarm 120;    # kills, even within a match
while (my $line = <STDIN>) {
    chomp $line;
    my ($what, @args) = split / /, $line, -1;
    if ($what eq 'S') {
        my $subject = pack 'H*', $args[0];
        if (defined $re && $subject =~ $re) {
            my @out = (1);
            for my $n (0 .. $#+) {
                my $set = defined $-[$n] && defined $+[$n];
                push @out, $set ? ($-[$n], $+[$n]) : (-1, -1);
            }
            print "@out\n";
        } else {
            print "0\n";
        }
        next;
    }
    my ($mods, $pattern) = map { pack 'H*', $_ } @args;
    $pattern = "(?$mods)$pattern" if $mods ne '';
    my $warned = 0;
    local $SIG{__WARN__} = sub { $warned = 1 if $_[0] !~ /deprecated/i };
    $re = $what eq 'R' ? eval { qr/$pattern/aa } : eval { qr/$pattern/ };
    my $why = $@;
    $why =~ s/\n.*//s;
    print defined $re ? ($warned ? "W\n" : "K\n") : "E $why\n";
}
