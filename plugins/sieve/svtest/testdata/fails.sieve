require "ihave";
error "so it is";
