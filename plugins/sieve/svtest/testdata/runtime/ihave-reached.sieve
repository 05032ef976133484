require "ihave";
if ihave "variables" { discard; }
if not ihave "nonesuch" { nonesuch; }
