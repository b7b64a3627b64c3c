"""a backbone for each project, and fine-tuned ones"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ('backbone', 'base_backbone', 'next_backbone', 'next_space', 'next_error'):
        op.add_column('project', sa.Column(name, sa.Text(), nullable=True))
    op.add_column('project', sa.Column('next_retry_at', sa.Double(), nullable=True))
    op.add_column('task', sa.Column('next_space', sa.Text(), nullable=True))
    op.create_table('tuned',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('base_backbone', sa.Text(), nullable=False),
    sa.Column('labels', sa.Integer(), nullable=False),
    sa.Column('seen', sa.JSON(), nullable=False),
    sa.Column('held', sa.JSON(), nullable=False),
    sa.Column('report', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_tuned_project_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tuned')),
    sa.UniqueConstraint('project_id', 'digest', name=op.f('uq_tuned_project_id_digest'))
    )


def downgrade() -> None:
    op.drop_table('tuned')
    with op.batch_alter_table('task', schema=None) as batch_op:
        batch_op.drop_column('next_space')
    with op.batch_alter_table('project', schema=None) as batch_op:
        for name in ('backbone', 'base_backbone', 'next_backbone', 'next_space', 'next_error'):
            batch_op.drop_column(name)
        batch_op.drop_column('next_retry_at')
