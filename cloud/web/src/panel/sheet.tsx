// A panel at the bottom edge of a phone, drawn up and down by its handle, or stepped by a tap or a key.

import { useEffect, useRef, useState, type ReactNode } from 'react';
import { useTexts } from '../i18n/use-text';

/** Heights as shares of the screen: a glance, half, nearly all. */
const STEPS = [0.2, 0.5, 0.88] as const;

export interface SheetProps {
  label: string;
  children: ReactNode;
  onHeight: (px: number) => void;
  /** Rises to the middle when this becomes true. */
  raised: boolean;
}

export function Sheet({ label, children, onHeight, raised }: SheetProps) {
  const { t } = useTexts();
  const [share, setShare] = useState<number>(STEPS[raised ? 1 : 0]);
  const drag = useRef<{ startY: number; startShare: number; moved: boolean } | null>(null);
  const [dragging, setDragging] = useState(false);
  const [wasRaised, setWasRaised] = useState(raised);
  if (raised !== wasRaised) {
    setWasRaised(raised);
    if (raised && share < STEPS[1]) setShare(STEPS[1]);
  }
  useEffect(() => {
    if (!dragging) onHeight(Math.round(share * window.innerHeight));
  }, [share, dragging, onHeight]);

  const step = (direction: 1 | -1) => {
    const index = STEPS.indexOf(nearest(share));
    setShare(STEPS[Math.max(0, Math.min(STEPS.length - 1, index + direction)) as 0 | 1 | 2]);
  };
  return (
    <aside className={dragging ? 'sheet sheet-dragging' : 'sheet'} aria-label={label} style={{ height: `${(share * 100).toFixed(2)}dvh` }}>
      <button
        type="button" className="sheet-handle" aria-label={t('sheet.resize')}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          drag.current = { startY: event.clientY, startShare: share, moved: false };
          setDragging(true);
        }}
        onPointerMove={(event) => {
          if (!drag.current) return;
          const risen = (drag.current.startY - event.clientY) / window.innerHeight;
          if (Math.abs(risen) > 0.01) drag.current.moved = true;
          setShare(Math.max(0.12, Math.min(0.92, drag.current.startShare + risen)));
        }}
        onPointerUp={() => {
          const moved = drag.current?.moved ?? false;
          drag.current = null;
          setDragging(false);
          setShare(moved ? nearest(share) : nearest(share) === STEPS[2] ? STEPS[0] : STEPS[(STEPS.indexOf(nearest(share)) + 1) as 0 | 1 | 2]);
        }}
        onPointerCancel={() => { drag.current = null; setDragging(false); setShare(nearest(share)); }}
        onKeyDown={(event) => {
          if (event.key === 'ArrowUp') step(1);
          else if (event.key === 'ArrowDown') step(-1);
        }}
      >
        <span />
      </button>
      {children}
    </aside>
  );
}

function nearest(share: number): (typeof STEPS)[number] {
  return STEPS.reduce((best, step) => (Math.abs(step - share) < Math.abs(best - share) ? step : best));
}
