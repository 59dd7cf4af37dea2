// node --require toril/clock
'use strict';

require('./follow.cjs').follow('libraries');
