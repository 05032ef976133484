require "ihave";
if ihave "nonesuch" { nonesuch; }
error "not here";
